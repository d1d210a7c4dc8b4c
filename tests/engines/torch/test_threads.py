"""A step of one text leaves a core to the page; prompts and shared passes take all."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from threadpoolctl import ThreadpoolController

from decoding.engines.batching.engine import SharedEngine
from decoding.engines.prefix_cache import Memory
from decoding.engines.torch import threads
from decoding.engines.torch.engine import best
from decoding.models.loading import load_model
from tests.engines.torch.test_direct import Folder, check_same


@pytest.mark.parametrize(("cores", "counted", "for_one"), [(1, 1, 1), (2, 2, 1), (4, 4, 3), (8, 4, 4), (2, 1, 1)])
def test_threads_of_a_pass(monkeypatch: pytest.MonkeyPatch, cores: int, counted: int, for_one: int) -> None:
    now = [counted]
    monkeypatch.setattr(threads, "_cores", lambda: cores)
    monkeypatch.setattr(torch, "get_num_threads", lambda: now[0])
    monkeypatch.setattr(torch, "set_num_threads", lambda number: now.__setitem__(0, number))
    seen: list[int] = []
    network: Any = SimpleNamespace(forward=lambda **_: seen.append(now[0]))
    threads.leave_a_core(network)
    for shape in ((1, 7), (1, 1), (1, 1), (3, 1)):
        network.forward(input_ids=torch.zeros(shape, dtype=torch.long))
    assert seen == [counted, for_one, for_one, counted]


@pytest.mark.parametrize(("cores", "for_one"), [(1, 1), (2, 1), (4, 3), (64, threads.MOST_FOR_ONE_ROW)])
def test_numpys_threads_are_few_for_one_row_and_given_back(
    monkeypatch: pytest.MonkeyPatch, cores: int, for_one: int
) -> None:
    blas = ThreadpoolController().select(user_api="blas").lib_controllers[0]
    seen: list[int] = []
    network: Any = SimpleNamespace(forward=lambda **_: seen.append(blas.num_threads))
    monkeypatch.setattr(threads, "_cores", lambda: cores)
    threads.spare_the_cores(network)
    with ThreadpoolController().limit(limits=5, user_api="blas"):
        for shape in ((1, 7), (1, 1), (3, 1)):
            network.forward(input_ids=torch.zeros(shape, dtype=torch.long))
        assert blas.num_threads == 5
    assert seen == [5, for_one, 5]


def test_the_pages_engine_does_so(tiny_folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_cores", lambda: 2)
    number = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        engine = best(load_model(str(tiny_folder("llama")), device="cpu", dtype="float32"))
        alone = list(engine.steps([1, 2, 3], max_new_tokens=6, top_k=5))
        seen: list[int] = []
        crowd = SharedEngine(engine)
        forward = engine.forward
        engine.forward = lambda *given: (forward(*given), seen.append(torch.get_num_threads()))[0]  # type: ignore[method-assign]
        engine.memory = Memory()  # or nothing is computed again
        check_same(list(crowd.steps([1, 2, 3], max_new_tokens=6, top_k=5)), alone)
        assert seen == [2, 1, 1, 1, 1, 1]
    finally:
        torch.set_num_threads(number)
