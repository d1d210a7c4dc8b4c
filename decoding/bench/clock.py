"""What a run takes inside the model and outside it. Owns the clock around a network; knows our loop alone."""

from collections.abc import Callable, Sequence
from statistics import median
from time import perf_counter
from typing import Any, TypeVar

from decoding.bench.loops import CHOICES, loop
from decoding.engines.local_engine import LocalEngine
from decoding.engines.network_protocol import Cache, Logits, Network
from decoding.record.step import StepScores
from decoding.run import Request, Run

T = TypeVar("T")


class NetworkClock:
    """While it is open, notes the seconds of each forward pass of an engine, and of each readout."""

    def __init__(self, engine: LocalEngine) -> None:
        self.passes: list[float] = []
        self.readouts: list[float] = []
        self._engine, self._network = engine, engine.network

    def __enter__(self) -> "NetworkClock":
        self._engine.network = _Timed(self._network, self)
        return self

    def __exit__(self, *_: object) -> None:
        self._engine.network = self._network


class _Timed:
    def __init__(self, network: Network, clock: NetworkClock) -> None:
        self._network, self._clock = network, clock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)

    def read(self, token_ids: Sequence[int], cache: Cache | None, *, last: int = 1) -> tuple[Any, Cache]:
        found, seconds = timed(lambda: self._network.read(token_ids, cache, last=last))
        self._clock.passes.append(seconds)
        return found

    def scores(self, logits: Logits, top_k: int, picked_id: int | None = None) -> StepScores:
        scores, seconds = timed(lambda: self._network.scores(logits, top_k, picked_id))
        self._clock.readouts.append(seconds)
        return scores


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """What some work gives, and its seconds."""
    started = perf_counter()
    return work(), perf_counter() - started


def measure_outside(engine: LocalEngine, prompt: str, *, steps: int, repeats: int) -> tuple[float, float]:
    """Of a run, from request to JSON Lines, the share that is not spent in the model's forward passes; and a readout's
    time as a share of a pass. Medians. On a GPU a pass goes on while the readout waits for it.
    """
    shares, readouts = [], []
    for _ in range(repeats):
        run = Run(engine, Request(prompt, steps, CHOICES))
        with NetworkClock(engine) as clock:
            started = perf_counter()
            for _line in run.lines():
                pass
            shares.append(1 - sum(clock.passes) / (perf_counter() - started))
        readouts.append(median(clock.readouts) / median(clock.passes))
    return median(shares), median(readouts)


def bare_loop(engine: LocalEngine, token_ids: Sequence[int], steps: int) -> tuple[float, float]:
    """The seconds that our loop takes with no page around it, and those of its first forward pass."""
    with NetworkClock(engine) as clock:
        started = perf_counter()
        loop(engine, token_ids, steps)
        return perf_counter() - started, clock.passes[0]


def measure_first_step(run: Callable[[], object], *, repeats: int) -> float:
    """The seconds of a run of one step: a median."""
    return median(timed(run)[1] for _ in range(repeats))
