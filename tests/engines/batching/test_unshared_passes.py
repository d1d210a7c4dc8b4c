"""Runs that cannot share a pass, and shared passes that fail: every run is still the run alone."""

import pytest
import torch

from decoding.engines.local_engine import LocalEngine
from decoding.engines.onnx import running_batch
from decoding.engines.torch.batched_cache import BatchedCache
from decoding.errors import ModelError
from tests.engines.batching.manual_worker import (
    Folder,
    ManualWorker,
    Passes,
    in_batch,
    join_all,
    load,
    new_reader,
    torch_network,
)
from tests.engines.passes import before_each_pass, change_shared_passes
from tests.watched import watched


def test_in_sixteen_bits_no_pass_is_shared(tiny_folder: Folder) -> None:
    engine = load(tiny_folder("llama"), dtype="bfloat16")
    passes = Passes(engine)
    worker = ManualWorker(engine)
    readers = join_all(worker, new_reader(1), new_reader(50, length=7))
    worker.run_to_end()
    assert {shape[0] for shape in passes.shapes} == {1}
    for each in readers:
        each.read(worker)
        alone = load(tiny_folder("llama"), dtype="bfloat16")
        assert each.got == list(alone.steps(each.token_ids, max_new_tokens=6, top_k=3))  # bit for bit


def test_a_network_that_cannot_share_decodes_runs_one_by_one(tiny_folder: Folder) -> None:
    worker = ManualWorker(load(tiny_folder("mamba")))
    readers = join_all(worker, new_reader(1, 5), new_reader(50, 5), new_reader(90, 5))
    worker.run_round()
    for ended in range(2, 5):
        worker.run_round()
        assert [len(each.sequence.steps) for each in readers if each.sequence] == [ended] * 3


@pytest.mark.parametrize("lengths", [(5, 7), (6, 6)])
def test_a_shared_pass_that_fails_is_not_tried_again(tiny_folder: Folder, lengths: tuple[int, int]) -> None:
    engine = load(tiny_folder("llama"))
    worker = ManualWorker(engine)
    readers = join_all(worker, *(new_reader(first, 9, length=n) for first, n in zip((1, 50), lengths, strict=True)))
    worker.run_round()
    tries = 0

    def fail(shape: tuple[int, ...]) -> None:
        nonlocal tries
        if shape[0] > 1:
            tries += 1
            raise torch.OutOfMemoryError("no room")

    failing = before_each_pass(torch_network(engine), fail)
    worker.run_to_end()
    assert tries == 1
    for each in readers:
        each.read(worker)
        assert len(each.got) == 9
        each.check(load(tiny_folder("llama")))
    failing.remove()
    join_all(worker, new_reader(3), new_reader(52))
    worker.run_round()
    worker.run_round()
    assert in_batch(worker) == 2  # when all had ended, it was forgiven


def test_a_network_whose_rows_differ_never_shares_again(tiny_folder: Folder) -> None:
    engine = load(tiny_folder("gpt2"))
    worker = ManualWorker(engine)
    change_shared_passes(torch_network(engine), lambda logits: logits.roll(1, dims=-1))
    readers = join_all(worker, new_reader(1, 8), new_reader(50, 8, length=9))
    worker.run_to_end()
    assert not worker._rounds.scheduler._may_share
    for each in readers:
        each.read(worker)
        each.check(load(tiny_folder("gpt2")))


@pytest.mark.parametrize(("free", "seats"), [(0, 0), (None, 2), (2**40, 2)])
def test_where_memory_is_short_no_rows_are_laid_out(tiny_folder: Folder, free: int | None, seats: int) -> None:
    worker = ManualWorker(load(tiny_folder("llama")), free=lambda: free)
    readers = join_all(worker, new_reader(1), new_reader(50))
    worker.run_round()
    worker.run_round()
    assert in_batch(worker) == seats
    worker.run_to_end()
    for each in readers:
        each.read(worker)
        each.check(load(tiny_folder("llama")))


@pytest.mark.parametrize("model", ["llama", "starter"])  # in torch, and in ONNX Runtime
def test_a_run_that_leaves_the_batch_without_memory_ends_no_other(
    tiny_folder: Folder,
    starter: LocalEngine,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    model: str,
) -> None:
    engine = watched(starter) if model == "starter" else load(tiny_folder(model))
    worker = ManualWorker(engine)
    readers = join_all(worker, *(new_reader(first, steps) for first, steps in ((1, 4), (50, 7), (90, 12), (130, 12))))
    while in_batch(worker) < 4:
        worker.run_round()

    def no_memory(*_: object) -> object:
        raise MemoryError

    monkeypatch.setattr(BatchedCache, "copy_row", no_memory)
    monkeypatch.setattr(running_batch, "resized", no_memory)
    while in_batch(worker) == 4:
        worker.run_round()
    assert len(engine.prefix_cache) == 0, "the first has ended, and nothing of it is kept"
    worker.run_to_end()  # and the last that shared a pass are read again, each alone
    assert "a shared pass failed" not in caplog.text, "no row was left in the batch"
    for each in readers:
        each.read(worker)
        assert len(each.got) == each.steps
        each.check(watched(starter) if model == "starter" else load(tiny_folder(model)))


def test_logits_that_are_nan_end_only_their_own_run(tiny_folder: Folder) -> None:
    engine = load(tiny_folder("llama"))
    worker = ManualWorker(engine)
    sick, well = join_all(worker, new_reader(1, 8), new_reader(50, 8))
    worker.run_round()

    def spoil(logits: torch.Tensor) -> torch.Tensor:
        logits[0] = torch.nan
        return logits

    change_shared_passes(torch_network(engine), spoil)
    worker.run_round()
    sick.read(worker)
    assert sick.sequence
    with pytest.raises(ModelError, match="is not a number"):
        worker.step(sick.sequence, len(sick.got))
    worker.run_to_end()
    well.read(worker)
    well.check(load(tiny_folder("llama")))
    assert len(well.got) == 8
