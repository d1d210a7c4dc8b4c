"""Compares the totals of two texts in a sentence: which one is more probable, and by how much.

Owns that sentence, and the names of texts by how they were made. Knows no model: it reads two traces.
"""

import math
from collections.abc import Iterable

from decoding.record.trace import Trace

BEAMS = "beam search"
GIVEN = "a given text"
"""How a Trace's `model.engine` begins if the text was not decoded greedily."""


def compare_totals(a: Trace, b: Trace, *, names: tuple[str, str] | None = None) -> str:
    """A sentence about which of two texts is more probable, and by how much. `names` are the names of the texts, such
    as "Greedy's text".

    >>> run = decoding.trace(model, "Transformers are the", max_new_tokens=8, top_k=5)
    >>> other = decoding.branch(model, run, 0, run.steps[0].candidates[1].token_id, max_new_tokens=8)
    >>> decoding.compare_totals(run, other)
    "The branch's text is 1.9 times as probable: −13.61 against −14.25 nats over 8 tokens."
    """
    name_a, name_b = names or _default_names(a, b)
    if a.generated_token_ids == b.generated_token_ids:
        return f"{name_a} and {_lower_first(name_b)} are the same: {_nats(a.logprob)} nats over {_tokens([a])}."
    (better, name), (worse, _) = sorted(((a, name_a), (b, name_b)), key=lambda pair: -pair[0].logprob)
    difference = better.logprob - worse.logprob if math.isfinite(worse.logprob) else math.inf
    if worse.logprob == better.logprob or difference < 1e-4:
        return (
            f"{name_a} and {_lower_first(name_b)} are equally probable: {_nats(a.logprob)} nats over {_tokens([a, b])}."
        )
    if not math.isfinite(difference):
        return f"{name} is the only possible one: the other has a token of probability 0."
    digits = next((n for n in (2, 3) if round(better.logprob, n) != round(worse.logprob, n)), 4)
    return (
        f"{name} is {_times_as_probable(difference)}: {_nats(better.logprob, digits)} against "
        f"{_nats(worse.logprob, digits)} nats over {_tokens([better, worse])}."
    )


def _default_names(a: Trace, b: Trace) -> tuple[str, str]:
    """The names of two texts: by how they were made, else by their order."""
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


def _lower_first(name: str) -> str:
    """A name for the middle of a sentence."""
    return name[:1].lower() + name[1:]


def _nats(logprob: float, digits: int = 2) -> str:
    return f"{logprob:.{digits}f}".replace("-", "−")


def _times_as_probable(difference: float) -> str:
    """How much more probable a text is whose log-probability is higher by `difference` nats."""
    if difference < math.log(1.1):
        return f"{math.expm1(difference):.2%} more probable"
    if difference < math.log(1e6):
        ratio = math.exp(difference)
        return f"{ratio:,.0f} times as probable" if ratio >= 100 else f"{ratio:.1f} times as probable"
    return f"about 10^{difference / math.log(10):.0f} times as probable"


def _tokens(traces: Iterable[Trace]) -> str:
    counts = list(dict.fromkeys(len(trace.steps) for trace in traces))
    return " against ".join(map(str, counts)) + (" token" if counts == [1] else " tokens")
