"""One sentence about the probabilities of two texts, where they compare, and about what does where they do not.

Owns that sentence alone. Knows traces, no engine and no page; the panel's `verdict.js` says the same on the page.
"""

import math

from decoding.analysis import BEAMS, GIVEN
from decoding.record.trace import Trace


def compare_totals(a: Trace, b: Trace, *, names: tuple[str, str] | None = None) -> str:
    """One sentence about which of two texts is the more probable, and by how much; where that does not compare, about
    what does. Probabilities do where one model gave them to texts of as many tokens after one prompt.

    `names` are what the texts are called, as "Greedy's text".
    """
    if (reason := _why_not_compared(a, b)) is not None:
        return reason
    name_a, name_b = names or _names(a, b)
    if a.generated_token_ids == b.generated_token_ids:
        return f"{name_a} and {_inner(name_b)} are the same: {_nats(a.logprob)} nats over {_tokens(a)}."
    (better, name), (worse, _) = sorted(((a, name_a), (b, name_b)), key=lambda pair: -pair[0].logprob)
    difference = better.logprob - worse.logprob if math.isfinite(worse.logprob) else math.inf
    if worse.logprob == better.logprob or difference < 1e-4:
        return f"{name_a} and {_inner(name_b)} are equally probable: {_nats(a.logprob)} nats over {_tokens(a)}."
    if not math.isfinite(difference):
        return f"{name} is the only possible one: the other has a token of probability 0."
    digits = next((n for n in (2, 3) if round(better.logprob, n) != round(worse.logprob, n)), 4)
    return (
        f"{name} is {_times(difference)}: {_nats(better.logprob, digits)} against "
        f"{_nats(worse.logprob, digits)} nats over {_tokens(better)}."
    )


def _why_not_compared(a: Trace, b: Trace) -> str | None:
    """What is said of two texts whose totals do not compare; None where they do."""
    same_prompt = (a.prompt, a.prompt_token_ids) == (b.prompt, b.prompt_token_ids)
    if a.model.id != b.model.id:
        what = "models" if same_prompt else "models and different prompts"
        return f"Different {what}: their probabilities do not compare."
    if not same_prompt:
        return "Different prompts: their probabilities do not compare."
    if (a.model.revision, a.model.dtype) != (b.model.revision, b.model.dtype):
        return "Different versions of a model: their probabilities do not compare."
    if len(a.steps) == len(b.steps):
        return None
    if not a.steps or not b.steps:
        return "One of the texts has no token yet, so there is nothing to compare."
    each = " against ".join(_nats(trace.logprob / len(trace.steps)) for trace in (a, b))
    return (
        f"{_nats(a.logprob)} nats over {_tokens(a)} against {_nats(b.logprob)} over {_tokens(b)}: totals of different "
        f"lengths do not compare; per token it is {each}."
    )


def _names(a: Trace, b: Trace) -> tuple[str, str]:
    """What two texts are called: by how they were written, else by which stands first."""
    kinds = [_kind(trace) for trace in (a, b)]
    if kinds[0] != kinds[1]:
        return f"{kinds[0]} text", f"{kinds[1]} text"
    return "The first text", "The second text"


def _kind(trace: Trace) -> str:
    if trace.model.engine.startswith(BEAMS):
        return "Beam search's"
    if trace.model.engine.startswith(GIVEN):
        return "The given"
    return "The branch's" if any(step.forced for step in trace.steps) else "Greedy's"


def _inner(name: str) -> str:
    """A name within a sentence."""
    return name[:1].lower() + name[1:]


def _nats(logprob: float, digits: int = 2) -> str:
    return f"{logprob:.{digits}f}".replace("-", "−")


def _times(difference: float) -> str:
    """How much more probable a text is whose log-probability is so many nats higher."""
    if difference < math.log(1.1):
        return f"{math.expm1(difference):.2%} more probable"
    if difference < math.log(1e6):
        ratio = math.exp(difference)
        return f"{ratio:,.0f} times as probable" if ratio >= 100 else f"{ratio:.1f} times as probable"
    return f"about 10^{difference / math.log(10):.0f} times as probable"


def _tokens(trace: Trace) -> str:
    count = len(trace.steps)
    return f"{count} token{'' if count == 1 else 's'}"
