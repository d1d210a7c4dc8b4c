"""Beam search over a model: a Trace of its winner, and the tree of its beams.

Owns how a search in ids (`decoding.beam`) becomes a record for people. Knows an engine by its protocol, and no page.
The functions are as thread-safe as the model's `beams`.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from decoding.beam import BeamStep, cut_scores, finished_beams, path_to
from decoding.engines import Engine
from decoding.messages import Message
from decoding.record.beams import BeamNode, BeamTree
from decoding.record.step import ScoredToken, Step, make_step
from decoding.record.trace import Trace
from decoding.requests.arguments import check_model
from decoding.requests.run_request import Request, check_beams, check_request, check_top_k, start_ids
from decoding.requests.tokenization_remarks import prompt_remarks


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
    check_model(model)
    check_top_k(model, request.top_k)
    return search(model, request, num_beams, prompt_ids=start_ids(model, request))


def search(model: Engine, request: Request, num_beams: int, *, prompt_ids: Sequence[int]) -> Trace:
    """Search from the ids of the request's prompt. Raises what `Engine.beams` raises."""
    options: Any = {"num_beams": num_beams, "max_new_tokens": request.max_new_tokens}
    shown = max(2, request.top_k)  # the margin needs the second candidate
    steps = [cut_scores(step, shown) for step in model.beams(prompt_ids, top_k=shown, **options)]
    finished = finished_beams(steps, **options)
    winner = path_to(steps, finished[0].step, finished[0].place)
    made = _steps(model, prompt_ids, steps, winner, top_k=request.top_k)
    engine = Message("kind.beam", kind=Message("kind.beam.name"), beams=num_beams)
    return Trace(
        model=replace(model.info, engine=f"{engine}, {model.info.engine}"),
        prompt=request.prompt,
        prompt_tokens=model.vocabulary.tokens(prompt_ids),
        max_new_tokens=request.max_new_tokens,
        top_k=request.top_k,
        steps=tuple(made),
        remarks=prompt_remarks(model, request.prompt, prompt_ids, as_message=request.as_message),
        stop_reason="end_of_text" if made[-1].picked.token_id in model.end_ids else "steps",
        as_message=request.as_message,
        beams=BeamTree(_nodes(model, prompt_ids, steps), tuple((text.step, text.place) for text in finished)),
    )


def _steps(
    model: Engine, prompt_ids: Sequence[int], steps: Sequence[BeamStep], places: Sequence[int], *, top_k: int
) -> list[Step]:
    """The steps of one text, by the places of its beams."""
    made: list[Step] = []
    ids = [*prompt_ids]
    for index, (step, place) in enumerate(zip(steps, places, strict=False)):
        beam = step.beams[place]
        scores = step.scores[beam.parent]
        assert scores is not None  # a text that has ended has no beams
        scores = replace(scores, picked=ScoredToken(beam.token_id, beam.logprob, beam.rank))
        decoder = model.vocabulary.decoder_after(ids)
        made.append(make_step(decoder, scores, index=index, top_k=top_k, forced=beam.rank != 0))
        ids.append(beam.token_id)
    return made


def _nodes(model: Engine, prompt_ids: Sequence[int], steps: Sequence[BeamStep]) -> tuple[tuple[BeamNode, ...], ...]:
    """The beams of each step, with the text that each token adds in its place."""
    made: list[tuple[BeamNode, ...]] = []
    texts: list[tuple[int, ...]] = [tuple(prompt_ids)]
    for step in steps:
        nodes = []
        for beam in step.beams:
            token = model.vocabulary.decoder_after(texts[beam.parent]).token(beam.token_id)
            numbers = (beam.logprob, beam.rank, beam.total)
            nodes.append(BeamNode(beam.parent, token.token_id, token.text, *numbers, token.bytes, beam.has_ended))
        made.append(tuple(nodes))
        texts = [(*texts[beam.parent], beam.token_id) for beam in step.beams]
    return tuple(made)
