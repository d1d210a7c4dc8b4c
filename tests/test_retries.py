"""Which tests are run again when they fail: those that drive a browser, a server or a process."""

from pathlib import Path

import pytest
from hypothesis import settings

from tests import browser, conftest
from tests.conftest import SECOND_CHANCE, has_a_second_chance

NUMBERS_AND_FORMATS = ("engines/batching", "engines/onnx", "engines/torch", "panel", "questions", "record", "requests")


def test_tests_with_a_browser_server_or_process_are_retried() -> None:
    assert has_a_second_chance(["visit", "browser", "playwright"])
    assert has_a_second_chance(["server", "drives_process"])
    assert not has_a_second_chance(["starter", "tiny_folder"])
    assert not has_a_second_chance([])


def test_each_of_these_is_a_fixture() -> None:
    assert all(hasattr(conftest, name) or hasattr(browser, name) for name in SECOND_CHANCE)


def test_tests_of_numbers_and_formats_are_not_retried(request: pytest.FixtureRequest) -> None:
    """Of those that this run has collected."""
    here = Path(__file__).parent
    again = {item.path for item in request.session.items if item.get_closest_marker("flaky")}
    assert not [path for path in again if path.relative_to(here).as_posix().startswith(NUMBERS_AND_FORMATS)]
    assert not again & {here / f"{name}.py" for name in ("test_beam", "test_greedy", "test_sampling", "test_softmax")}


def test_the_plain_run_draws_no_lots_and_the_hunt_does() -> None:
    assert settings.get_profile("patient").derandomize
    assert not settings.get_profile("explore").derandomize
