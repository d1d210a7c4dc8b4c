"""The contenders' turns and the rows that come of them. Owns the order, the warm-up and the ratios; knows no page.

Everything takes its turn in each turn, `generate` first, because a machine's speed drifts from minute to minute.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import truediv
from statistics import median

from decoding.bench.clock import timed
from decoding.bench.loops import Contender, Decoded, first_other_pick, generate, loop, max_difference, notebook
from decoding.bench.measured_models import Subject
from decoding.bench.memory_bandwidth import Weights

WARM_UP_STEPS = 8
NOTEBOOK_TOKENS = 3_000
"""What the notebook's loop reads in a turn at most, or else it would take hours: after a prompt of 1,000 tokens a step
takes two seconds. Two steps are always measured.
"""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Row:
    """One contender's result. The time is the median of its turns; the ratio, how many times as fast it is, the median
    of the ratios in each turn. The difference is to the probabilities of `generate`, over the steps that both reached
    by the same ids; the limit writes nothing, so it has none.
    """

    name: str
    steps: int
    prompt_tokens: int
    ms_per_step: float
    ratio_to_generate: float
    max_probability_difference: float | None


@dataclass(frozen=True, slots=True)
class Measured:
    """The rows of one prompt and number of steps, and what is to be said of them. `notebook_steps` is how many of the
    steps were measured in the notebook's row.
    """

    rows: tuple[Row, ...]
    notebook_steps: int
    notes: tuple[str, ...]


def measured_steps(steps: int, prompt_tokens: int) -> list[int]:
    """The steps at which the notebook's loop is measured: as many as NOTEBOOK_TOKENS allow, from the first to the last,
    evenly.
    """
    count = min(steps, max(2, NOTEBOOK_TOKENS // (prompt_tokens + steps)))
    return [place * (steps - 1) // max(count - 1, 1) for place in range(count)]


def measure_rows(
    subject: Subject,
    others: Mapping[str, Contender],
    token_ids: Sequence[int],
    *,
    steps: int,
    repeats: int,
    say: Say,
) -> Measured:
    """Let all take turns, after a warm-up. `others` are contenders beside our own, by name."""
    contenders: dict[str, Contender] = {
        "generate": partial(generate, subject.network),
        "loop": partial(loop, subject.plain),
        "best": partial(loop, subject.fastest),
        **others,
    }
    weights, places = Weights(subject.network), measured_steps(steps, len(token_ids))
    for run in contenders.values():
        run(token_ids, min(steps, WARM_UP_STEPS))
    notebook(subject.network, token_ids, (), [0])
    turns: dict[str, list[float]] = {name: [] for name in ("notebook", *contenders, "limit")}
    decoded: dict[str, Decoded] = {}
    for turn in range(repeats):
        say(f"{steps} steps after {len(token_ids)} tokens, turn {turn + 1} of {repeats}")
        for name, run in contenders.items():
            decoded[name], seconds = timed(partial(run, token_ids, steps))
            turns[name].append(seconds / steps)
        written = decoded["generate"].token_ids
        decoded["notebook"], seconds = timed(partial(notebook, subject.network, token_ids, written, places))
        turns["notebook"].append(seconds / len(places))
        turns["limit"].append(weights.seconds_to_read())
    reference = dict.fromkeys(contenders, decoded["generate"]) | {"notebook": decoded["generate"].at(places)}
    rows = [
        Row(
            name=name,
            steps=steps,
            prompt_tokens=len(token_ids),
            ms_per_step=median(seconds_each) * 1000,
            ratio_to_generate=median(map(truediv, turns["generate"], seconds_each)),
            max_probability_difference=max_difference(decoded[name], reference[name]) if name in decoded else None,
        )
        for name, seconds_each in turns.items()
    ]
    return Measured(tuple(rows), len(places), tuple(_notes(decoded, reference, rows[0], places)))


def _notes(
    decoded: Mapping[str, Decoded], reference: Mapping[str, Decoded], row: Row, places: Sequence[int]
) -> list[str]:
    """What a reader of these rows has to know: what was measured in part only, and who wrote another text."""
    here = f"{row.prompt_tokens:,} tokens and {row.steps} steps"
    notes = []
    if len(places) < row.steps:
        notes.append(f"At {here}, {len(places)} steps of notebook's were measured, evenly spread.")
    for name, theirs in reference.items():
        if (index := first_other_pick(decoded[name], theirs)) is not None:
            step = places[index] if name == "notebook" else index
            notes.append(f"At {here}, {name} picked another token than generate at step {step} (counted from 0).")
    return notes
