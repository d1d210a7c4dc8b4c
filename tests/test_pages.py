"""Large pieces of memory, and those that are taken before anybody needs them."""

from collections.abc import Iterator

import numpy as np
import pytest

from decoding.engines.torch.engine import LocalEngine, best
from decoding.models.loading import load_model
from decoding.pages import large, take_ahead, taken_ahead
from tests.engines.torch.test_direct import Folder

CACHE_LINE = 64


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    yield
    while taken_ahead() is not None:
        pass


@pytest.mark.parametrize("count", [1, 15, 16, 1_000_003])
def test_a_piece_begins_with_a_cache_line(count: int) -> None:
    numbers = large(count)
    assert (len(numbers), numbers.dtype, numbers.ctypes.data % CACHE_LINE) == (count, np.float32, 0)


def test_what_was_taken_is_given_once() -> None:
    assert taken_ahead() is None
    take_ahead(5000)
    numbers = taken_ahead()
    assert numbers is not None
    assert len(numbers) == 5000
    assert not numbers[::1024].any()
    assert taken_ahead() is None


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_load_leaves_nothing_of_it(tiny_folder: Folder, dtype: str) -> None:
    take_ahead(5000)
    engine = best(load_model(str(tiny_folder("llama")), device="cpu", dtype=dtype))
    assert isinstance(engine, LocalEngine)
    assert taken_ahead() is None
