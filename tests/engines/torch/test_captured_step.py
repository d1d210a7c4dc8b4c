"""The memory of captured steps, and what cannot be captured: the plain loop takes its place."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from decoding.engines.torch import captured_step
from decoding.engines.torch.captured_step import CapturedSteps, NoMemoryForRowError
from decoding.engines.torch.cuda_graph import Graphs
from decoding.messages import Message
from tests import tiny_models
from tests.engines.torch.captured_engines import IDS, check_same, engines, read_prompt, sizes, steps


def test_rows_are_as_many_as_the_memory_has_room_for(llama: tuple[Any, Any]) -> None:
    plain, _ = llama
    cache = read_prompt(plain, IDS)[1]
    a_row = 2 * captured_step.COLUMNS * 2 * (2 * 2 * 8 * 4)  # columns, layers, keys and values of 2 heads in float32
    free = int(9 * a_row / captured_step.MEMORY_SHARE)
    together = CapturedSteps(plain.network.network, most=32, free_bytes=lambda _: free)
    assert together.bytes_to_insert([20]) == 0  # before there is a cache nobody knows
    together.insert(cache)
    assert together._cache is not None
    assert together._cache.rows == 8
    assert together.bytes_to_insert([20] * 7) == 0
    assert together.bytes_to_insert([20] * 8) == 16 * a_row
    assert together.bytes_to_insert([3 * captured_step.COLUMNS]) == 2 * 2 * a_row
    free = 0
    for _ in range(7):
        together.insert(cache)
    with pytest.raises(NoMemoryForRowError):
        together.insert(cache)


def test_a_cache_grows_with_its_run_and_is_not_kept_too_large() -> None:
    plain, ours = engines(tiny_models.network("llama"), columns=16, columns_kept=64)
    for length, count, captured in (
        (3, 8, [(1, 16)]),
        (3, 15, [(1, 16), (1, 32)]),
        (20, 24, [(1, 64)]),  # in a larger cache all is captured anew
        (3, 8, [(1, 64), (1, 16)]),
    ):
        check_same(steps(ours, IDS[:length], count=count), steps(plain, IDS[:length], count=count))
        assert sizes(ours) == captured
    full = tiny_models.CONTEXT - len(IDS)
    check_same(steps(ours, count=200), steps(plain, count=200))
    assert len(steps(ours, count=200)) == full
    assert sizes(ours) == []  # of 128 columns
    check_same(steps(ours, count=5), steps(plain, count=5))
    assert sizes(ours) == [(1, 32)]


def test_without_memory_the_run_uses_the_plain_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    free: int | None = 1000
    plain, ours = engines(tiny_models.network("llama"), columns=16, free_bytes=lambda _: free)
    assert steps(ours) == steps(plain)
    assert sizes(ours) == []
    free = None
    check_same(steps(ours), steps(plain))
    assert sizes(ours)

    def full(rows: int, columns: int) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    kept = ours.network.steps._cache.columns
    monkeypatch.setattr(ours.network.steps._cache, "resize", full)
    check_same(steps(ours, count=70), steps(plain, count=70))  # in the middle of the run
    assert ours.network.steps._cache.columns == kept


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (RuntimeError("operation not permitted when stream is capturing"), False),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("CUDA error: out of memory"), True),
    ],
)
def test_a_capture_that_fails_is_tried_again_only_where_its_reason_passes(error: Exception, passes: bool) -> None:
    tried = []

    class Failing(Graphs):
        def record(self, function: Any) -> Any:
            tried.append(function)
            if len(tried) == 1:
                raise error
            return super().record(function)

    now, network = 0.0, tiny_models.network("llama")
    plain, ours = engines(network, graphs=Failing(network.device), clock=lambda: now)
    for _ in range(2):
        check_same(steps(ours), steps(plain))
    assert len(tried) == 1
    assert sizes(ours) == []
    now = captured_step.RETRY_SECONDS + 1.0
    check_same(steps(ours), steps(plain))
    assert bool(sizes(ours)) == passes


def test_nothing_is_captured_while_a_load_has_changed_the_default_dtype() -> None:
    now = 0.0
    plain, ours = engines(tiny_models.network("llama"), clock=lambda: now)
    expected = steps(plain)
    torch.set_default_dtype(torch.bfloat16)
    try:
        check_same(steps(ours), expected)
    finally:
        torch.set_default_dtype(torch.float32)
    assert sizes(ours) == []
    now = captured_step.RETRY_SECONDS + 1.0
    check_same(steps(ours), expected)
    assert sizes(ours)


def test_a_replay_that_says_something_else_is_not_used() -> None:
    class Frozen(Graphs):
        def capture(self, function: Callable[[], None]) -> Callable[[], None]:
            function()
            return lambda: None  # as if all of it had been folded into nothing

    network = tiny_models.network("llama")
    plain, ours = engines(network, graphs=Frozen(network.device))
    assert ours.network.verify() == Message("why.loop.captured")
    check_same(steps(ours), steps(plain))
