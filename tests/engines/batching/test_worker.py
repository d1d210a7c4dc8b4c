"""The worker of a batch: whoever comes and goes, in whatever order, every run is the run alone."""

import gc
import weakref

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decoding.engines.batching.engine import BatchedEngine
from decoding.engines.batching.scheduler import Limits
from decoding.engines.local_engine import LocalEngine
from decoding.engines.prefix_cache import PrefixCache
from tests import tiny_models
from tests.engines.batching.manual_worker import (
    Folder,
    ManualWorker,
    Passes,
    Reader,
    in_batch,
    join_all,
    load,
    new_reader,
)
from tests.watched import noting, watched

SHARING = ("gpt2", "llama", "qwen3", "gemma3_text", "mistral", "gpt_neox")
"""Absolute and rotary positions, grouped heads, sliding windows in some layers and in all."""


PROMPTS = st.integers(1, 40).flatmap(lambda n: st.integers(0, 250).map(lambda first: list(range(first, first + n))))
READERS = st.builds(
    Reader,
    token_ids=PROMPTS,
    steps=st.integers(1, 24),
    top_k=st.integers(1, 4),
    forced=st.dictionaries(st.integers(0, 23), st.integers(0, 300), max_size=1),
)
# An arrival, the departure of one of those who are there, or some rounds.
EVENTS = st.lists(st.one_of(READERS, st.integers(-3, -1), st.integers(1, 6)), min_size=4, max_size=30)


@pytest.mark.parametrize("architecture", [*SHARING, "mamba"])
def test_runs_equal_single_runs_in_any_order_of_arrivals_and_departures(tiny_folder: Folder, architecture: str) -> None:
    engine, alone = load(tiny_folder(architecture)), load(tiny_folder(architecture))
    engine.network.spare_columns = 5  # type: ignore[attr-defined]  # so that the tensors are laid out often
    pieces = Limits(max_rows=6, chunk=16, ids_per_round=64)  # and prompts read in pieces
    most = 0

    @settings(max_examples=12, derandomize=True)
    @given(events=EVENTS)
    def drive(events: list[Reader | int]) -> None:
        nonlocal most
        engine.prefix_cache = PrefixCache(engine.network)
        worker = ManualWorker(engine, limits=pieces)
        here: list[Reader] = []
        for event in events:
            if isinstance(event, Reader):
                last = max(0, tiny_models.CONTEXT - len(event.token_ids))
                steps = min(event.steps, last)
                picks = {step: token_id for step, token_id in event.forced.items() if step < steps}
                here.append(Reader(event.token_ids, steps, event.top_k, picks).join(worker))
            elif event < 0 and here:
                gone = here.pop(event % len(here))
                gone.leave(worker)
                gone.check(alone)
            for _ in range(event if isinstance(event, int) and event > 0 else 0):
                worker.run_round()
                most = max(most, in_batch(worker))
                for reader in here:
                    reader.read(worker)
        while worker.run_round():
            most = max(most, in_batch(worker))
        for reader in here:
            reader.read(worker)
            assert len(reader.got) == reader.steps
            reader.check(alone)
        assert not worker._rounds.scheduler.sequences
        assert worker._rounds._batch is None

    drive()
    assert most == 0 if architecture == "mamba" else most >= 2


def test_runs_share_their_passes(tiny_folder: Folder) -> None:
    engine = load(tiny_folder("llama"))
    passes = Passes(engine)
    worker = ManualWorker(engine)
    readers = join_all(worker, new_reader(1), new_reader(50, length=3), new_reader(90, length=4))
    worker.run_to_end()
    # Each prompt; then a pass for all, in which the shortest and the longest row are read alone as well, once.
    assert passes.shapes == [(1, 5), (1, 3), (1, 4), (3, 1), (1, 1), (1, 1), *[(3, 1)] * 4]
    for each in readers:
        each.read(worker)
        assert len(each.got) == 6


def test_readers_are_notified_once_a_pass(tiny_folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = load(tiny_folder("llama"))
    worker, notified = ManualWorker(engine), list[int]()
    readers = join_all(worker, new_reader(1), new_reader(50), new_reader(90))
    worker.run_round()
    steps = [each.sequence.steps for each in readers if each.sequence]
    monkeypatch.setattr(worker._changed, "notify_all", lambda: notified.append(sum(map(len, steps))))
    worker.run_round()
    worker.run_round()
    assert notified == [6, 9], "all three had their step"


def test_a_run_alone_is_the_plain_run_bit_for_bit(tiny_folder: Folder) -> None:
    engine, shared = load(tiny_folder("mistral")), BatchedEngine(load(tiny_folder("mistral")))
    ids = list(range(40, 70))
    assert list(shared.steps(ids, max_new_tokens=20, top_k=4)) == list(engine.steps(ids, max_new_tokens=20, top_k=4))


def test_the_last_remaining_run_leaves_the_batch(tiny_folder: Folder) -> None:
    engine = load(tiny_folder("gemma3_text"))
    worker = ManualWorker(engine)
    long, short = join_all(worker, new_reader(1, 12), new_reader(50, 3))
    passes = Passes(engine)
    worker.run_to_end()
    assert passes.shapes[-9:] == [(1, 1)] * 9
    assert in_batch(worker) == 0
    for each in (long, short):
        each.read(worker)
        each.check(load(tiny_folder("gemma3_text")))


def test_a_run_that_is_left_costs_no_further_pass(tiny_folder: Folder) -> None:
    engine = load(tiny_folder("llama"))
    worker = ManualWorker(engine)
    one, other = join_all(worker, new_reader(1, 20), new_reader(50, 20))
    worker.run_round()
    passes = Passes(engine)
    one.leave(worker)
    worker.run_round()
    assert passes.shapes == [(1, 1)]  # the other's, alone
    other.leave(worker)
    assert not worker.run_round()
    assert len(passes.shapes) == 1


def test_a_prompt_without_readers_is_not_read(tiny_folder: Folder) -> None:
    engine = load(tiny_folder("llama"))
    passes = Passes(engine)
    worker = ManualWorker(engine)
    join_all(worker, new_reader(1))[0].leave(worker)
    assert not worker.run_round()
    assert passes.shapes == []


def test_a_long_prompt_is_read_in_pieces_between_the_steps_of_others(tiny_folder: Folder) -> None:
    pieces = Limits(chunk=8, ids_per_round=8)
    engine = load(tiny_folder("llama"))
    worker = ManualWorker(engine, limits=pieces)
    short = new_reader(1, 12).join(worker)
    worker.run_round()
    long = new_reader(50, 2, length=30).join(worker)
    passes = Passes(engine)
    for _ in range(5):
        worker.run_round()
    pieces = [(1, 8), (1, 1), (1, 8), (1, 1), (1, 8), (1, 1), (1, 6), (1, 1)]
    assert passes.shapes == [*pieces, (2, 1), (1, 1), (1, 1)]
    worker.run_to_end()
    for each in (short, long):
        each.read(worker)
        each.check(load(tiny_folder("llama")))


def test_memory_of_the_batch_is_released_when_the_last_run_ends(tiny_folder: Folder) -> None:
    worker = ManualWorker(load(tiny_folder("llama")))
    gc.disable()  # nobody else shall have to find them
    try:
        texts = [worker.join(ids, steps=4, top_k=2, forced={}) for ids in ([1, 2, 3], [4, 5])]
        worker.run_round()
        worker.run_round()
        batch_rows = weakref.ref(worker._rounds._batch._rows)
        assert len(batch_rows()) == 2
        worker._run()
        assert batch_rows() is None
    finally:
        gc.enable()
    assert [len(text.steps) for text in texts] == [4, 4]


@pytest.mark.parametrize("fails", [False, True])
def test_prompts_that_come_at_once_are_read_in_one_pass(
    starter: LocalEngine, caplog: pytest.LogCaptureFixture, fails: bool
) -> None:
    passes = []

    def note(texts: list[list[int]]) -> list[int]:
        if fails:
            passes.append([len(text) for text in texts])
            raise RuntimeError("no memory for so many")
        return [len(text) for text in texts]

    worker = ManualWorker(watched(starter, read_texts=noting(passes, note)))
    readers = [Reader([first, *range(40, 40 + more)], 3, 2, {}).join(worker) for more, first in enumerate((5, 6, 7, 8))]
    worker.run_to_end()
    assert passes == [[1, 2, 3, 4]]
    assert ("read one by one" in caplog.text) is fails
    for reader in readers:
        reader.read(worker)
        assert len(reader.got) == 3
        reader.check(watched(starter))
