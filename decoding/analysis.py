"""Analysis of runs: branches, scores of given texts, beam search, and what greedy decoding cost.

Owns the comparisons and their sentences. Every run that it makes is a Trace like any other. Knows no torch: modules
that need it are imported when they are used. The functions that take a model are as thread-safe as its `steps` and
`score`.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from decoding.engines import Engine
from decoding.errors import RequestError
from decoding.record.step import Candidate, Step, make_candidate, make_step
from decoding.record.trace import Trace
from decoding.remarks import prompt_remarks, text_remarks
from decoding.request import (
    check_beams,
    check_choices,
    check_continuation,
    check_prompt,
    check_request,
    check_top_k,
    continuation_ids,
    prompt_ids,
    start_ids,
)
from decoding.run import Run

BEAMS = "beam search"
GIVEN = "a given text"
"""How a Trace's `model.engine` begins if the text was not decoded greedily."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """The comparison of a run with `model.generate(do_sample=False)`.

    `first` is the first step compared, after the last forced one; `compared` counts the steps. At step
    `first_difference` the picks are `ours` and `theirs` (None for a text that has ended before it), and `margin` is
    that of our step. `switched_off` are the model's own generation settings that were left out on both sides.
    """

    identical: bool
    first: int
    compared: int
    first_difference: int | None
    ours: Candidate | None
    theirs: Candidate | None
    margin: float | None
    dtype: str
    device: str
    switched_off: tuple[str, ...]


def branch(model: Engine, trace: Trace, step: int, token_id: int, *, max_new_tokens: int) -> Trace:
    """The run that picks `token_id` at `step` and otherwise what `trace` picked before it, then decodes greedily to
    `max_new_tokens` in all.

    Raises RequestError for a step or an id that does not exist, and for a trace that this model does not write.
    """
    if isinstance(step, bool) or not isinstance(step, int) or step not in range(len(trace.steps)):
        raise RequestError(
            f"There is no step {step!r:.40} to branch at: counted from 0, this run's steps are 0 to "
            f"{len(trace.steps) - 1}.",
            field="forced",
        )
    check_same_model(model, trace)
    forced = [(s.index, s.picked.token_id) for s in trace.steps[:step] if s.forced]
    request = check_request(trace.prompt, max_new_tokens, trace.top_k, [*forced, (step, token_id)])
    run = Run(model, request)
    steps = iter(run)
    for theirs, ours in zip(trace.steps[:step], steps, strict=False):
        _check_same_pick(model, ours, theirs)
    for _ in steps:
        pass
    return run.trace


def score(model: Engine, prompt: str, continuation: str, *, top_k: int) -> Trace:
    """Read a text that is already there: each token's probability and rank, and the candidates that greedy decoding
    would have offered, from one forward pass. A step is forced where argmax picks something else. Where the tokenizer
    cannot read the text right after the prompt as it stands, the Trace's `remarks` say what was read.

    Raises RequestError for an empty or over-long text.
    """
    prompt, continuation, top_k = check_prompt(prompt), check_continuation(continuation), check_choices(top_k)
    check_top_k(model, top_k)
    start = prompt_ids(model, prompt)
    ids = continuation_ids(model, start, continuation, prompt=prompt)
    read = _score_ids(model, prompt, start, ids, top_k=top_k, engine=GIVEN)
    return replace(read, remarks=(*read.remarks, *text_remarks(model, continuation, start, ids)))


def beam_search(model: Engine, prompt: str, *, max_new_tokens: int, num_beams: int, top_k: int) -> Trace:
    """The text of `max_new_tokens` tokens that transformers' own beam search finds, read like any given text.

    `num_beams` is 2 to 8. No beam may end the text before its last token, so that totals can be compared. Raises
    RequestError for what cannot be run or does not fit into the memory.
    """
    from decoding import beam  # here: torch and transformers take seconds to import

    request, num_beams = check_request(prompt, max_new_tokens, top_k), check_beams(num_beams)
    start = start_ids(model, request)
    ids = beam.transformers_beam_search(model, start, steps=request.max_new_tokens, num_beams=num_beams)
    engine = f"{BEAMS}, {num_beams} beams"
    return _score_ids(model, request.prompt, start, ids, top_k=request.top_k, engine=engine)


def agreement(model: Engine, trace: Trace) -> Agreement:
    """Hold a run against `model.generate(do_sample=False)` with the model's own penalties switched off.

    A run with forced picks is compared after the last of them, given everything before. Raises RequestError for a trace
    that this model does not write.
    """
    from decoding import beam  # here: torch and transformers take seconds to import

    check_same_model(model, trace)
    first = max((step.index + 1 for step in trace.steps if step.forced), default=0)
    before, steps = trace.generated_token_ids[:first], trace.steps[first:]
    picks = beam.transformers_greedy_search(model, [*trace.prompt_token_ids, *before], steps=len(steps))
    places = [*trace.prompt_token_ids, *before, *(pick.token_id for pick in picks)]
    theirs = [
        make_candidate(model.vocabulary.decoder_after(places[: n - len(picks)]), pick) for n, pick in enumerate(picks)
    ]
    pairs = zip(steps, theirs, strict=False)
    same = next((n for n, (s, t) in enumerate(pairs) if s.picked.token_id != t.token_id), len(theirs))
    differs = same < len(steps)
    return Agreement(
        identical=not differs,
        first=first,
        compared=len(steps),
        first_difference=first + same if differs else None,
        ours=steps[same].picked if differs else None,
        theirs=theirs[same] if differs and same < len(theirs) else None,
        margin=steps[same].margin if differs else None,
        dtype=model.info.dtype,
        device=model.info.device,
        switched_off=beam.switched_off(model),
    )


def closest_calls(trace: Trace) -> list[int]:
    """The steps that argmax decided, those with the smallest margin between first and second first."""
    return [step.index for step in sorted(trace.steps, key=lambda s: (s.margin, s.index)) if not step.forced]


def compare_totals(a: Trace, b: Trace, *, names: tuple[str, str] | None = None) -> str:
    """One sentence about which of two texts is the more probable, and by how much.

    `names` are what the texts are called, as "Greedy's text".
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


def check_same_model(model: Engine, trace: Trace) -> None:
    """Raises RequestError for a trace of another model, or one whose ids this model could not have written."""
    if trace.model.id != model.info.id:
        raise RequestError(
            f"This run was made by {trace.model.id[:80]}, not by {model.info.id}. Choose that model.", field="model"
        )
    context, length = model.context_length, len(trace.prompt_tokens) + len(trace.steps)
    known = all(0 <= token_id < model.vocabulary_size for token_id in trace.generated_token_ids)
    if not known or list(trace.prompt_token_ids) != prompt_ids(model, check_prompt(trace.prompt)):
        raise RequestError(
            f"This run holds token ids that {model.info.id} does not write: it was altered.", field="forced"
        )
    if context is not None and length > context:
        raise RequestError(
            f"This run is {length:,} tokens long, and the context of {model.info.id} is {context:,}: it was altered.",
            field="forced",
        )


def _check_same_pick(model: Engine, ours: Step, theirs: Step) -> None:
    if ours.picked.token_id != theirs.picked.token_id:
        raise RequestError(
            f"At step {ours.index + 1} this run has the token id {theirs.picked.token_id}, and {model.info.id} picks "
            f"{ours.picked.token_id}: the run was altered, or made with other numbers. Run the prompt again.",
            field="forced",
        )


def _score_ids(
    model: Engine, prompt: str, start: Sequence[int], ids: Sequence[int], *, top_k: int, engine: str
) -> Trace:
    """The Trace of a given text, whose ids follow those of a prompt."""
    steps = []
    for index, readout in enumerate(
        model.score(start, ids, top_k=max(2, top_k))
    ):  # the margin needs the second candidate
        forced = readout.picked is not None and readout.picked.rank != 0
        decoder = model.vocabulary.decoder_after([*start, *ids[:index]])
        steps.append(make_step(decoder, readout, index=index, top_k=top_k, forced=forced))
    return Trace(
        model=replace(model.info, engine=f"{engine}, {model.info.engine}"),
        prompt=prompt,
        prompt_tokens=model.vocabulary.tokens(start),
        max_new_tokens=len(steps),
        top_k=top_k,
        steps=tuple(steps),
        remarks=prompt_remarks(model, prompt, start),
        stop_reason="end_of_text" if ids[-1] in model.end_ids else "steps",
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
