"""The worker of a batch: whoever comes and goes, in whatever order, every run is the run alone."""

import gc
import threading
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import decoding
from decoding.engines.batching.engine import BatchedEngine
from decoding.engines.batching.scheduler import Limits
from decoding.engines.batching.sequence import SequenceStatus, TokenSequence
from decoding.engines.batching.worker import Worker
from decoding.engines.local_engine import LocalEngine
from decoding.engines.prefix_cache import PrefixCache
from decoding.engines.torch.engine import load as load_torch
from decoding.errors import ModelError
from decoding.record.step import StepScores
from tests import tiny_models
from tests.engines.passes import before_each_pass, change_shared_passes
from tests.watched import noting, watched

Folder = Callable[[str], Path]
SHARING = ("gpt2", "llama", "qwen3", "gemma3_text", "mistral", "gpt_neox")
"""Absolute and rotary positions, grouped heads, sliding windows in some layers and in all."""


def load(folder: Path, **options: Any) -> LocalEngine:
    return load_torch(str(folder), device="cpu", **options)


def torch_network(engine: LocalEngine) -> Any:
    """The transformers network of an engine."""
    assert engine.reference
    return engine.reference()


def in_batch(worker: Worker) -> int:
    return sum(s.status is SequenceStatus.IN_BATCH for s in worker._rounds.scheduler.sequences)


class ManualWorker(Worker):
    """A batch whose rounds the test makes."""

    def _start(self) -> None:
        pass

    def run_to_end(self) -> None:
        while self.run_round():
            pass


@dataclass
class Reader:
    """A run, and what it has read so far."""

    token_ids: list[int]
    steps: int
    top_k: int
    forced: Mapping[int, int]
    sequence: TokenSequence | None = None
    got: list[StepScores] = field(default_factory=list)

    def join(self, worker: Worker) -> "Reader":
        self.sequence = worker.join(self.token_ids, steps=self.steps, top_k=self.top_k, forced=self.forced)
        return self

    def read(self, worker: Worker) -> None:
        """What is there, without waiting."""
        assert self.sequence
        while len(self.got) < min(self.steps, len(self.sequence.steps)):
            readout = worker.step(self.sequence, len(self.got))
            assert readout
            self.got.append(readout)

    def leave(self, worker: Worker) -> None:
        assert self.sequence
        worker.leave(self.sequence, steps=self.steps)

    def check(self, alone: LocalEngine) -> None:
        """Hold what was read against the same run of an engine that shares nothing and remembers nothing."""
        alone.prefix_cache = PrefixCache(alone.network)
        expected = list(alone.steps(self.token_ids, max_new_tokens=self.steps, top_k=self.top_k, forced=self.forced))[
            : len(self.got)
        ]
        check_same(self.got, expected, self.top_k)


def check_same(got: list[StepScores], expected: list[StepScores], top_k: int) -> None:
    assert [(r.token_ids[:top_k], r.picked and (r.picked.token_id, r.picked.rank)) for r in got] == [
        (r.token_ids, r.picked and (r.picked.token_id, r.picked.rank)) for r in expected
    ]
    for one, other in zip(got, expected, strict=True):
        ours, theirs = torch.tensor(one.logprobs[:top_k]).exp(), torch.tensor(other.logprobs).exp()
        assert (ours - theirs).abs().max() < 1e-4
        assert one.entropy == pytest.approx(other.entropy, abs=1e-3)


# ---- any order of arrivals and departures

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


# ---- what a pass is made for


class Passes:
    """The shape of the ids that each forward pass of an engine reads."""

    def __init__(self, engine: LocalEngine) -> None:
        self.shapes: list[tuple[int, ...]] = []
        before_each_pass(torch_network(engine), self.shapes.append)


def reader(first: int, steps: int = 6, *, length: int = 5, top_k: int = 3) -> Reader:
    return Reader(list(range(first, first + length)), steps, top_k, {})


def join_all(worker: Worker, *readers: Reader) -> list[Reader]:
    return [each.join(worker) for each in readers]


def test_runs_share_their_passes(tiny_folder: Folder) -> None:
    engine = load(tiny_folder("llama"))
    passes = Passes(engine)
    worker = ManualWorker(engine)
    readers = join_all(worker, reader(1), reader(50, length=3), reader(90, length=4))
    worker.run_to_end()
    # Each prompt; then a pass for all, in which the shortest and the longest row are read alone as well, once.
    assert passes.shapes == [(1, 5), (1, 3), (1, 4), (3, 1), (1, 1), (1, 1), *[(3, 1)] * 4]
    for each in readers:
        each.read(worker)
        assert len(each.got) == 6


def test_a_run_alone_is_the_plain_run_bit_for_bit(tiny_folder: Folder) -> None:
    engine, shared = load(tiny_folder("mistral")), BatchedEngine(load(tiny_folder("mistral")))
    ids = list(range(40, 70))
    assert list(shared.steps(ids, max_new_tokens=20, top_k=4)) == list(engine.steps(ids, max_new_tokens=20, top_k=4))


def test_the_last_remaining_run_leaves_the_batch(tiny_folder: Folder) -> None:
    engine = load(tiny_folder("gemma3_text"))
    worker = ManualWorker(engine)
    long, short = join_all(worker, reader(1, 12), reader(50, 3))
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
    one, other = join_all(worker, reader(1, 20), reader(50, 20))
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
    join_all(worker, reader(1))[0].leave(worker)
    assert not worker.run_round()
    assert passes.shapes == []


def test_a_long_prompt_is_read_in_pieces_between_the_steps_of_others(tiny_folder: Folder) -> None:
    pieces = Limits(chunk=8, ids_per_round=8)
    engine = load(tiny_folder("llama"))
    worker = ManualWorker(engine, limits=pieces)
    short = reader(1, 12).join(worker)
    worker.run_round()
    long = reader(50, 2, length=30).join(worker)
    passes = Passes(engine)
    for _ in range(5):
        worker.run_round()
    pieces = [(1, 8), (1, 1), (1, 8), (1, 1), (1, 8), (1, 1), (1, 6), (1, 1)]
    assert passes.shapes == [*pieces, (2, 1), (1, 1), (1, 1)]
    worker.run_to_end()
    for each in (short, long):
        each.read(worker)
        each.check(load(tiny_folder("llama")))


# ---- equal requests


def test_equal_requests_are_computed_once(tiny_folder: Folder) -> None:
    engine = load(tiny_folder("llama"))
    worker = ManualWorker(engine)
    first = reader(1, 6).join(worker)
    for _ in range(3):
        worker.run_round()
    longer, shorter = join_all(worker, reader(1, 9, top_k=2), reader(1, 3))  # while it is being written
    passes = Passes(engine)
    worker.run_to_end()
    assert passes.shapes == [(1, 1)] * 6  # two of nine were there, one of them was being read
    again, longest = join_all(worker, reader(1, 9), reader(1, 11))  # after it has ended
    worker.run_to_end()
    assert passes.shapes == [(1, 1)] * 8
    assert worker.reused == 4
    for each in (first, longer, shorter, again, longest):
        each.read(worker)
        assert len(each.got) == each.steps
        each.check(load(tiny_folder("llama")))


def test_a_request_for_more_candidates_is_another_sequence(tiny_folder: Folder) -> None:
    engine = load(tiny_folder("llama"))
    worker = ManualWorker(engine)
    few, many = join_all(worker, reader(1, top_k=2), reader(1, top_k=5))
    worker.run_to_end()
    for each in (few, many):
        each.read(worker)
        assert len(each.got[0].token_ids) == each.top_k
        each.check(load(tiny_folder("llama")))


def test_a_run_ends_with_its_readers_when_the_longest_one_leaves(tiny_folder: Folder) -> None:
    engine = load(tiny_folder("llama"))
    passes = Passes(engine)
    worker = ManualWorker(engine)
    patient, hasty = join_all(worker, reader(1, 40), reader(1, 4))
    worker.run_round()
    patient.leave(worker)
    worker.run_to_end()
    hasty.read(worker)
    assert len(hasty.got) == 4
    assert len(passes.shapes) == 4


def test_a_text_that_ends_by_itself_ends_for_all(tiny_folder: Folder) -> None:
    engine, alone = load(tiny_folder("llama")), load(tiny_folder("llama"))
    written = [r.token_ids[0] for r in alone.steps(list(range(1, 6)), max_new_tokens=20, top_k=1)]
    end = next(i for n, i in enumerate(written) if n >= 3 and i not in written[:n])
    engine.end_ids = frozenset({end})
    shared = BatchedEngine(engine)
    for _ in range(2):  # written, and then remembered
        got = list(shared.steps(list(range(1, 6)), max_new_tokens=20, top_k=1))
        assert [r.token_ids[0] for r in got] == written[: written.index(end) + 1]


def test_context_full(tiny_folder: Folder) -> None:
    shared = BatchedEngine(load(tiny_folder("gpt2")))
    for length, steps in ((90, 6), (95, 1), (96, 0), (200, 0)):
        assert len(list(shared.steps([5] * length, max_new_tokens=50, top_k=1))) == steps


# ---- what cannot share, and what fails


def test_in_sixteen_bits_no_pass_is_shared(tiny_folder: Folder) -> None:
    engine = load(tiny_folder("llama"), dtype="bfloat16")
    passes = Passes(engine)
    worker = ManualWorker(engine)
    readers = join_all(worker, reader(1), reader(50, length=7))
    worker.run_to_end()
    assert {shape[0] for shape in passes.shapes} == {1}
    for each in readers:
        each.read(worker)
        alone = load(tiny_folder("llama"), dtype="bfloat16")
        assert each.got == list(alone.steps(each.token_ids, max_new_tokens=6, top_k=3))  # bit for bit


def test_a_network_that_cannot_share_decodes_runs_one_by_one(tiny_folder: Folder) -> None:
    worker = ManualWorker(load(tiny_folder("mamba")))
    readers = join_all(worker, reader(1, 5), reader(50, 5), reader(90, 5))
    worker.run_round()
    for ended in range(2, 5):
        worker.run_round()
        assert [len(each.sequence.steps) for each in readers if each.sequence] == [ended] * 3


@pytest.mark.parametrize("lengths", [(5, 7), (6, 6)])
def test_a_shared_pass_that_fails_is_not_tried_again(tiny_folder: Folder, lengths: tuple[int, int]) -> None:
    engine = load(tiny_folder("llama"))
    worker = ManualWorker(engine)
    readers = join_all(worker, *(reader(first, 9, length=n) for first, n in zip((1, 50), lengths, strict=True)))
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
    join_all(worker, reader(3), reader(52))
    worker.run_round()
    worker.run_round()
    assert in_batch(worker) == 2  # when all had ended, it was forgiven


def test_a_network_whose_rows_differ_never_shares_again(tiny_folder: Folder) -> None:
    engine = load(tiny_folder("gpt2"))
    worker = ManualWorker(engine)
    change_shared_passes(torch_network(engine), lambda logits: logits.roll(1, dims=-1))
    readers = join_all(worker, reader(1, 8), reader(50, 8, length=9))
    worker.run_to_end()
    assert not worker._rounds.scheduler._may_share
    for each in readers:
        each.read(worker)
        each.check(load(tiny_folder("gpt2")))


@pytest.mark.parametrize(("free", "seats"), [(0, 0), (None, 2), (2**40, 2)])
def test_where_memory_is_short_no_rows_are_laid_out(tiny_folder: Folder, free: int | None, seats: int) -> None:
    worker = ManualWorker(load(tiny_folder("llama")), free=lambda: free)
    readers = join_all(worker, reader(1), reader(50))
    worker.run_round()
    worker.run_round()
    assert in_batch(worker) == seats
    worker.run_to_end()
    for each in readers:
        each.read(worker)
        each.check(load(tiny_folder("llama")))


def test_logits_that_are_nan_end_only_their_own_run(tiny_folder: Folder) -> None:
    engine = load(tiny_folder("llama"))
    worker = ManualWorker(engine)
    sick, well = join_all(worker, reader(1, 8), reader(50, 8))
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


# ---- with threads, as the page uses it


def test_many_runs_at_once_and_the_thread_ends_after_the_last(tiny_folder: Folder) -> None:
    shared, alone = BatchedEngine(load(tiny_folder("qwen3"))), load(tiny_folder("qwen3"))
    readers = [reader(7 * n, 12, length=2 + n) for n in range(12)]

    def work(each: Reader) -> None:
        each.got = list(shared.steps(each.token_ids, max_new_tokens=12, top_k=3))

    threads = [threading.Thread(target=work, args=(each,)) for each in readers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    for each in readers:
        assert len(each.got) == 12
        each.check(alone)
    worker = shared.worker._thread
    if worker:
        worker.join(300)
    assert shared.worker._thread is None


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


def test_closing_the_iterator_removes_the_reader(tiny_folder: Folder) -> None:
    shared = BatchedEngine(load(tiny_folder("llama")))
    steps: Any = shared.steps([1, 2, 3], max_new_tokens=90, top_k=2)
    next(steps)
    worker = shared.worker._thread
    steps.close()
    if worker:
        worker.join(300)
    assert shared.worker._rounds.scheduler.sequences == []


def test_beam_search_and_scored_texts_run_beside_the_batch(tiny_folder: Folder) -> None:
    shared, alone = BatchedEngine(load(tiny_folder("llama"))), load(tiny_folder("llama"))
    ids = list(range(1, 6))
    run = shared.steps(ids, max_new_tokens=60, top_k=2)
    next(run)
    options: Any = {"max_new_tokens": 6, "num_beams": 3, "top_k": 2}
    found, expected = (decoding.beam_search(engine, "abc", **options) for engine in (shared, alone))
    assert found == expected
    texts = [decoding.score(engine, "abc", "def", top_k=2) for engine in (shared, alone)]
    assert texts[0] == texts[1]
    trace = decoding.trace(shared, "abc", max_new_tokens=8, top_k=2)
    assert decoding.agreement(shared, trace).identical
    rest = list(run)
    assert len(rest) == 59


# ---- prompts that share a pass


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


def test_sharing_an_engine_leaves_it_as_it_is(starter: LocalEngine) -> None:
    network = starter.network
    shared = BatchedEngine(starter)
    assert starter.network is network
    assert shared.network is not network
