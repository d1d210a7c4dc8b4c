"""Many runs at once through the page's engine, and how much it writes.

Owns the crowd and the stopwatch: as the page does it, each run has a thread of its own, at most as many at once as the
page serves.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count as count_from
from itertools import islice, pairwise
from statistics import median
from time import perf_counter

from decoding.bench.loops import CHOICES
from decoding.engines import Engine

SERVED = 32
"""Runs that the page serves at once, as its option `--runs` has it by default."""
SUBJECTS = ("river", "teacher", "mountain", "computer", "garden", "city", "song", "winter", "doctor", "story")


@dataclass(frozen=True, slots=True)
class Crowd:
    """Many runs at once. Seconds: `first` is from asking to the first step, waiting in line included, in the median and
    for the slowest; `step` is from one step to the next in the median.
    """

    engine: str
    runs: int
    steps: int
    tokens_per_second: float
    first: float
    slowest_first: float
    step: float


def prompts(count: int, round_: int = 0) -> list[str]:
    """Prompts of which no two are equal, nor in two rounds, since equal runs are written once."""
    return [f"Number {1000 * (round_ + 1) + n}: the {SUBJECTS[n % 10]} was" for n in range(count)]


def measure_crowd(engine: Engine, *, runs: int, steps: int, at_once: int, round_: int = 0) -> Crowd:
    """So many runs that begin in the same moment, with the prompts of a round. Raises what an engine raises."""
    places, begin = threading.Semaphore(at_once), threading.Event()
    moments: list[list[float]] = [[] for _ in range(runs)]
    failed: list[BaseException] = []

    def write(number: int, token_ids: Sequence[int]) -> None:
        begin.wait()
        try:
            with places:
                for _ in engine.steps(token_ids, max_new_tokens=steps, top_k=CHOICES):
                    moments[number].append(perf_counter())
        except BaseException as error:
            failed.append(error)

    texts = [engine.vocabulary.encode(prompt) for prompt in prompts(runs, round_)]
    threads = [threading.Thread(target=write, args=(n, text), daemon=True) for n, text in enumerate(texts)]
    for thread in threads:
        thread.start()
    begun = perf_counter()
    begin.set()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    ended = max(run[-1] for run in moments)
    pauses = [b - a for run in moments for a, b in pairwise(run)]
    firsts = [run[0] - begun for run in moments]
    return Crowd(
        engine=engine.info.engine,
        runs=runs,
        steps=steps,
        tokens_per_second=sum(map(len, moments)) / (ended - begun),
        first=median(firsts),
        slowest_first=max(firsts),
        step=median(pauses) if pauses else 0.0,
    )


def measure_here(here: Engine, *, runs: Sequence[int], steps: int, repeats: int) -> list[Crowd]:
    """Each number of runs; of the repeats, the one in the middle by tokens a second."""
    measured, rounds = [], count_from(0)
    for count in runs:
        tries = [
            measure_crowd(here, runs=count, steps=steps, at_once=SERVED, round_=round_)
            for round_ in islice(rounds, repeats)
        ]
        measured.append(sorted(tries, key=lambda crowd: crowd.tokens_per_second)[repeats // 2])
    return measured
