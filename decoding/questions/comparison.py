"""Compares the totals of two texts in a sentence: which one is more probable, and by how much.

Owns that sentence, and the names of texts by how they were made. Knows no model: it reads two traces.
"""

import math

from decoding.errors import RequestError
from decoding.messages import Message
from decoding.record.trace import Trace
from decoding.requests.arguments import check_trace


def compare_totals(a: Trace, b: Trace, *, names: tuple[str, str] | None = None) -> str:
    """A sentence about which of two texts is more probable, and by how much. `names` are the names of the texts, such
    as "Greedy's text".

    Totals can be compared if one model gave them to texts of as many tokens after one prompt; otherwise the sentence
    says what can be compared instead. Raises RequestError for `names` that are not two texts.

    >>> run = decoding.trace(model, "Transformers are the", max_new_tokens=8, top_k=5)
    >>> other = decoding.branch(model, run, 0, run.steps[0].candidates[1].token_id, max_new_tokens=8)
    >>> decoding.compare_totals(run, other)
    "The branch's text is 1.9 times as probable: −13.61 against −14.25 nats over 8 tokens."
    """
    check_trace(a)
    check_trace(b)
    names = _default_names(a, b) if names is None else names
    if not (isinstance(names, tuple | list) and len(names) == 2 and all(isinstance(name, str) for name in names)):
        raise RequestError("The texts' names have to be a pair, as ('The first text', 'The second text').")
    if (reason := _why_not_compared(a, b)) is not None:
        return reason
    name_a, name_b = names
    if a.generated_token_ids == b.generated_token_ids:
        return f"{name_a} and {_lower_first(name_b)} are the same: {_nats(a.logprob)} nats over {_tokens(a)}."
    (better, name), (worse, _) = sorted(((a, name_a), (b, name_b)), key=lambda pair: -pair[0].logprob)
    difference = better.logprob - worse.logprob if math.isfinite(worse.logprob) else math.inf
    if worse.logprob == better.logprob or difference < 1e-4:
        return f"{name_a} and {_lower_first(name_b)} are equally probable: {_nats(a.logprob)} nats over {_tokens(a)}."
    if not math.isfinite(difference):
        return f"{name} is the only possible one: the other has a token of probability 0."
    digits = next((n for n in (2, 3) if round(better.logprob, n) != round(worse.logprob, n)), 4)
    return (
        f"{name} is {_times_as_probable(difference)}: {_nats(better.logprob, digits)} against "
        f"{_nats(worse.logprob, digits)} nats over {_tokens(better)}."
    )


def _why_not_compared(a: Trace, b: Trace) -> str | None:
    """The sentence for two texts whose totals cannot be compared; None if they can."""
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


def _default_names(a: Trace, b: Trace) -> tuple[str, str]:
    """The names of two texts: by how they were made, else by their order."""
    kinds = [_kind(trace) for trace in (a, b)]
    if kinds[0] != kinds[1]:
        return f"{kinds[0]} text", f"{kinds[1]} text"
    return "The first text", "The second text"


def _kind(trace: Trace) -> str:
    if trace.model.engine.startswith(Message("kind.beam.name")):
        return "Beam search's"
    if trace.model.engine.startswith(Message("kind.given")):
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


def _tokens(trace: Trace) -> str:
    count = len(trace.steps)
    return f"{count} token{'' if count == 1 else 's'}"
