"""Agreement: whether transformers' own greedy search picks what a run picked, the proof by `generate`.

Owns the comparison. Imports torch and transformers when it is asked.
"""

from dataclasses import dataclass

from decoding.engines import Engine
from decoding.errors import RequestError
from decoding.messages import Message
from decoding.questions.same_model import check_same_model
from decoding.record.step import Candidate, make_candidate
from decoding.record.trace import Trace


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
