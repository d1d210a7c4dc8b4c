"""The example in the docstring of each public function, run with the starter; `connect` with a fake server of it.
And its signature.
"""

import doctest
import inspect
from collections.abc import Iterator
from types import FunctionType

import pytest

import decoding
from decoding.engines.local_engine import LocalEngine
from decoding.models.starter import STARTER_ID
from tests.fake_vllm import FakeVllm

FUNCTIONS = [name for name in decoding.__all__ if isinstance(getattr(decoding, name), FunctionType)]
URL = "http://127.0.0.1:8000"
"""The address in the example of `connect`."""


@pytest.fixture
def server_url(starter: LocalEngine) -> Iterator[str]:
    with FakeVllm(starter, name=STARTER_ID).served() as url:
        yield url


def test_every_public_function_is_tested() -> None:
    assert {"load", "trace", "connect"} <= set(FUNCTIONS)


@pytest.mark.parametrize("name", [name for name in decoding.__all__ if not name.endswith("Error")])
def test_the_signature_of_a_public_name_can_be_read(name: str) -> None:
    assert "<lambda>" not in str(inspect.signature(getattr(decoding, name)))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_example_of_a_public_function(name: str, starter: LocalEngine, request: pytest.FixtureRequest) -> None:
    function = getattr(decoding, name)
    text = function.__doc__ or ""
    if URL in text:
        text = text.replace(URL, request.getfixturevalue("server_url"))
    names = {"decoding": decoding, "model": starter, **{each: getattr(decoding, each) for each in decoding.__all__}}
    example = doctest.DocTestParser().get_doctest(text, names, name, function.__module__, None)
    assert example.examples, "its docstring has no example"
    report: list[str] = []
    result = doctest.DocTestRunner(verbose=False).run(example, out=report.append)
    assert result.failed == 0, "".join(report)
