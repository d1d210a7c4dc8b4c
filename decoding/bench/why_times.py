"""How long the two answers to "why this token?" take: a logit lens on one step, and leaving out each of 30 tokens.

Owns both questions, and their times in steps of the same engine; steps and questions are measured in turn. Knows no
page.
"""

from dataclasses import dataclass
from operator import truediv
from statistics import median

from decoding.bench.clock import timed
from decoding.bench.loops import CHOICES
from decoding.bench.measured_models import Subject
from decoding.engines.local_engine import LocalEngine
from decoding.errors import RequestError
from decoding.questions.leave_one_out import leave_one_out
from decoding.questions.logit_lens import lens
from decoding.record.trace import Trace
from decoding.run import trace

TOKENS = 30
LENS_STEPS, WITHOUT_SECONDS = 2, 1.0
"""The aims: a lens in steps, and leaving out in seconds."""
_STEPS = 8


@dataclass(frozen=True, slots=True)
class WhyTimes:
    """Medians. `lens_over_step` is None if the network's layers cannot be read."""

    tokens: int
    lens_over_step: float | None
    without_over_step: float
    without_seconds: float


def measure_why(subject: Subject, *, repeats: int) -> WhyTimes:
    """Ask both questions about a run of one step after 30 tokens, as the page does; the first turn is not counted."""
    engine = subject.fastest
    prompt = engine.vocabulary.decode(subject.prompt(TOKENS))
    run = trace(engine, prompt, max_new_tokens=1, top_k=CHOICES)
    turns = [_turn(engine, run) for _ in range(repeats + 1)][1:]
    steps, without, lenses = zip(*turns, strict=True)
    return WhyTimes(
        tokens=len(run.prompt_tokens),
        lens_over_step=None if None in lenses else median(map(truediv, lenses, steps)),
        without_over_step=median(map(truediv, without, steps)),
        without_seconds=median(without),
    )


def _turn(engine: LocalEngine, run: Trace) -> tuple[float, float, float | None]:
    """Seconds of a step, of leaving out and of a lens."""
    written = engine.steps(run.prompt_token_ids, max_new_tokens=_STEPS + 1, top_k=CHOICES)
    next(written)
    _, steps = timed(lambda: list(written))
    _, without = timed(lambda: leave_one_out(engine, run, 0, last=TOKENS))
    try:
        return steps / _STEPS, without, timed(lambda: lens(engine, run, 0))[1]
    except RequestError:
        return steps / _STEPS, without, None
