"""What if: branches, texts that are already there, beam search, and what greed cost.

Owns the comparisons and their sentences. Every run it makes is a Trace like any other. Knows no torch: what needs it is
imported when it is asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from decoding.engines import Engine
from decoding.errors import RequestError
from decoding.reading import prompt_remarks, text_remarks
from decoding.record.step import Candidate, Step, make_candidate, make_step
from decoding.record.trace import Trace
from decoding.request import (
    check_beams,
    check_choices,
    check_continuation,
    check_most,
    check_prompt,
    check_request,
    continuation_ids,
    prompt_ids,
    shown,
    start_ids,
)
from decoding.run import Run

BEAMS = "beam search"
GIVEN = "a given text"
"""How a Trace's `model.engine` begins where not greedy decoding wrote the text."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """A run beside `model.generate(do_sample=False)`.

    `first` is the first step compared, after the last forced one; `compared` counts the steps. At `first_difference`
    are `ours` and `theirs` (None where a text has ended before) and the `margin` of our step. `switched_off` are the
    model's own generation settings that were left out on both sides.
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
            f"The step to branch at has to be one of this run's, counted from 0 to {len(trace.steps) - 1}, not "
            f"{shown(step)}.",
            field="forced",
        )
    check_made_by(model, trace)
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
    check_most(model, top_k)
    start = prompt_ids(model, prompt)
    ids = continuation_ids(model, start, continuation, prompt=prompt)
    read = _read(model, prompt, start, ids, top_k=top_k, engine=GIVEN)
    return replace(read, remarks=(*read.remarks, *text_remarks(model, continuation, start, ids)))


def beam_search(model: Engine, prompt: str, *, max_new_tokens: int, num_beams: int, top_k: int) -> Trace:
    """The text of `max_new_tokens` tokens that transformers' own beam search finds, read like any given text.

    `num_beams` is 2 to 8. No beam may end the text before its last token, so that totals can be compared. Raises
    RequestError for what cannot be run or does not fit into the memory.
    """
    from decoding import beam  # here: torch and transformers take seconds to import

    request, num_beams = check_request(prompt, max_new_tokens, top_k), check_beams(num_beams)
    start = start_ids(model, request)
    ids = beam.library_beams(model, start, steps=request.max_new_tokens, num_beams=num_beams)
    engine = f"{BEAMS}, {num_beams} beams"
    return _read(model, request.prompt, start, ids, top_k=request.top_k, engine=engine)


def agreement(model: Engine, trace: Trace) -> Agreement:
    """Hold a run against `model.generate(do_sample=False)` with the model's own penalties switched off.

    A run with forced picks is compared after the last of them, given everything before. Raises RequestError for a trace
    that this model does not write.
    """
    from decoding import beam  # here: torch and transformers take seconds to import

    check_made_by(model, trace)
    first = max((step.index + 1 for step in trace.steps if step.forced), default=0)
    before, steps = trace.generated_token_ids[:first], trace.steps[first:]
    picks = beam.library_greedy(model, [*trace.prompt_token_ids, *before], steps=len(steps))
    places = [*trace.prompt_token_ids, *before, *(pick.token_id for pick in picks)]
    theirs = [make_candidate(model.vocabulary.after(places[: n - len(picks)]), pick) for n, pick in enumerate(picks)]
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


def check_made_by(model: Engine, trace: Trace) -> None:
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


def _read(model: Engine, prompt: str, start: Sequence[int], ids: Sequence[int], *, top_k: int, engine: str) -> Trace:
    """A text's ids after a prompt's as a Trace."""
    steps = []
    for index, readout in enumerate(model.score(start, ids, top_k=max(2, top_k))):  # the margin needs the second
        forced = readout.picked is not None and readout.picked.rank != 0
        place = model.vocabulary.after([*start, *ids[:index]])
        steps.append(make_step(place, readout, index=index, top_k=top_k, forced=forced))
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
