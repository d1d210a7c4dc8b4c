"""Analysis of runs: branches, scores of given texts, beam search, and what greedy decoding cost.

Owns how each is made and checked. Every run that it makes is a Trace like any other. Knows no torch: modules
that need it are imported when they are used. The functions that take a model are as thread-safe as its `steps` and
`score`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from decoding.engines import Engine
from decoding.errors import RequestError
from decoding.messages import Message
from decoding.questions.beam_record import search
from decoding.record.step import Candidate, Step, make_candidate, make_step
from decoding.record.trace import Trace
from decoding.requests.message_request import check_as_message
from decoding.requests.remarks import prompt_remarks, text_remarks
from decoding.requests.run_request import (
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
from decoding.requests.values import shown
from decoding.run import Run


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
    """The run that picks `token_id` at `step` (counted from 0), keeps the earlier picks of `trace`, and then goes
    on as `trace` does (greedily, unless it draws) to `max_new_tokens` steps in all.

    Raises RequestError for a step or id that does not exist, and for a trace that this model does not reproduce.

    >>> run = decoding.trace(model, "Transformers are the", max_new_tokens=8, top_k=5)
    >>> second = run.steps[0].candidates[1]
    >>> decoding.branch(model, run, 0, second.token_id, max_new_tokens=8).generated_text
    ' ones that can be used to create new'
    """
    if isinstance(step, bool) or not isinstance(step, int) or step not in range(len(trace.steps)):
        raise RequestError(
            Message("altered.step", last=len(trace.steps) - 1, step=shown(step)),
            field="forced",
        )
    check_same_model(model, trace)
    forced = [(s.index, s.picked.token_id) for s in trace.steps[:step] if s.chosen]
    request = check_request(trace.prompt, max_new_tokens, trace.top_k, [*forced, (step, token_id)], **trace.how)
    run = Run(model, request)
    steps = iter(run)
    for theirs, ours in zip(trace.steps[:step], steps, strict=False):
        _check_same_pick(model, ours, theirs)
    for _ in steps:
        pass
    return run.trace


def score(model: Engine, prompt: str, continuation: str, *, top_k: int, as_message: bool = False) -> Trace:
    """Score a given text: each token's probability and rank, and the candidates of greedy decoding at its place,
    without decoding.

    A step is `forced` if argmax picks another token. `top_k` is 1 to 50. If the tokenizer cannot encode the text
    exactly as a continuation of the prompt, the Trace's `remarks` say what was read. Raises RequestError for an empty
    text, or one of more than 1,000 tokens or than the context has room for.

    >>> scored = decoding.score(model, "Transformers are the", " robots in disguise", top_k=3)
    >>> [(step.picked.text, step.picked.rank) for step in scored.steps]
    [(' robots', 386), (' in', 5), (' disguise', 640)]
    """
    prompt, continuation, top_k = check_prompt(prompt), check_continuation(continuation), check_choices(top_k)
    check_top_k(model, top_k)
    start = prompt_ids(model, prompt, as_message=check_as_message(as_message))
    ids = continuation_ids(model, start, continuation, prompt="" if as_message else prompt)
    read = _score_ids(model, prompt, start, ids, top_k=top_k, engine=Message("kind.given"), as_message=as_message)
    return replace(read, remarks=(*read.remarks, *text_remarks(model, continuation, start, ids)))


def beam_search(
    model: Engine, prompt: str, *, max_new_tokens: int, num_beams: int, top_k: int, as_message: bool = False
) -> Trace:
    """The most probable text, per token, that `num_beams` beams find in up to `max_new_tokens` steps; its `beams` are
    the whole tree of the search.

    `num_beams` is 2 to 8. The search is that of transformers' `generate(num_beams=…, do_sample=False)`; how ties are
    broken is in `decoding.beam`. A step is `forced` if argmax picks another token. Raises RequestError for a request
    that is invalid or does not fit into memory, ModelError at a step whose logits are not finite.

    >>> found = decoding.beam_search(model, "Transformers are the", max_new_tokens=8, num_beams=4, top_k=5)
    >>> found.generated_text, round(found.logprob, 2)
    (' most efficient way to create and manage data', -12.2)
    >>> [f"{beam.text} {beam.total:.2f}" for beam in found.beams.steps[0]]
    [' most -2.49', ' ones -2.72', ' primary -3.35', ' perfect -4.05']
    """
    request, num_beams = (
        check_request(prompt, max_new_tokens, top_k, as_message=as_message),
        check_beams(num_beams),
    )
    check_top_k(model, request.top_k)
    return search(model, request, num_beams, prompt_ids=start_ids(model, request))


def agreement(model: Engine, trace: Trace) -> Agreement:
    """Compare a run with `model.generate(do_sample=False)`, with the model's own generation settings switched off.

    A run with forced picks is compared after the last of them, given everything before; for a run past the end of the
    text, `generate` gets `suppress_tokens`. Needs torch and the memory of transformers' network. Raises RequestError
    for a trace that this model does not reproduce, ModelError if transformers fails.

    >>> run = decoding.trace(model, "Transformers are the", max_new_tokens=8, top_k=5)
    >>> result = decoding.agreement(model, run)
    >>> result.identical, result.compared
    (True, 8)
    """
    from decoding.engines.torch import transformers_greedy  # here: torch and transformers take seconds to import

    check_same_model(model, trace)
    if trace.sampling is not None:
        raise RequestError(
            Message("draw.agree"),
            field="forced",
        )
    first = max((step.index + 1 for step in trace.steps if step.chosen), default=0)
    before, steps = trace.generated_token_ids[:first], trace.steps[first:]
    whole = [*trace.prompt_token_ids, *before]
    picks = transformers_greedy.transformers_greedy_search(model, whole, steps=len(steps), past_end=trace.past_end)
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
        switched_off=transformers_greedy.switched_off(model),
    )


def closest_calls(trace: Trace) -> list[int]:
    """The indexes of the steps that argmax decided, smallest margin first.

    >>> run = decoding.trace(model, "Transformers are the", max_new_tokens=4, top_k=2)
    >>> decoding.closest_calls(run)
    [0, 1, 2, 3]
    """
    return [
        step.index
        for step in sorted(trace.steps, key=lambda s: (s.margin, s.index))
        if not step.forced and step.draw is None  # argmax picked
    ]


def check_same_model(model: Engine, trace: Trace) -> None:
    """Raises RequestError for a trace of another model, or one whose ids this model could not have written."""
    if trace.model.id != model.info.id:
        raise RequestError(Message("altered.model", theirs=trace.model.id[:80], ours=model.info.id), field="model")
    context, length = model.context_length, len(trace.prompt_tokens) + len(trace.steps)
    known = all(0 <= token_id < model.vocabulary_size for token_id in trace.generated_token_ids)
    if not known or list(trace.prompt_token_ids) != prompt_ids(
        model, check_prompt(trace.prompt), as_message=trace.as_message
    ):
        raise RequestError(Message("altered.ids", model=model.info.id), field="forced")
    if context is not None and length > context:
        raise RequestError(
            Message("altered.context", count=f"{length:,}", model=model.info.id, context=f"{context:,}"),
            field="forced",
        )


def _check_same_pick(model: Engine, ours: Step, theirs: Step) -> None:
    if ours.picked.token_id != theirs.picked.token_id:
        raise RequestError(
            Message(
                "altered.pick",
                step=ours.index + 1,
                theirs=theirs.picked.token_id,
                model=model.info.id,
                ours=ours.picked.token_id,
            ),
            field="forced",
        )


def _score_ids(
    model: Engine, prompt: str, start: Sequence[int], ids: Sequence[int], *, top_k: int, engine: str, as_message: bool
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
        remarks=prompt_remarks(model, prompt, start, as_message=as_message),
        as_message=as_message,
        stop_reason="end_of_text" if ids[-1] in model.end_ids else "steps",
    )
