"""A worker whose rounds the test makes, and readers who hold what they read against the same run alone."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from decoding.engines.batching.sequence import SequenceStatus, TokenSequence
from decoding.engines.batching.worker import Worker
from decoding.engines.local_engine import LocalEngine
from decoding.engines.prefix_cache import PrefixCache
from decoding.engines.torch.engine import load as load_torch
from decoding.record.step import StepScores
from tests.engines.passes import before_each_pass

Folder = Callable[[str], Path]


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


class Passes:
    """The shape of the ids that each forward pass of an engine reads."""

    def __init__(self, engine: LocalEngine) -> None:
        self.shapes: list[tuple[int, ...]] = []
        before_each_pass(torch_network(engine), self.shapes.append)


def new_reader(first: int, steps: int = 6, *, length: int = 5, top_k: int = 3) -> Reader:
    return Reader(list(range(first, first + length)), steps, top_k, {})


def join_all(worker: Worker, *readers: Reader) -> list[Reader]:
    return [each.join(worker) for each in readers]
