"""Scores of a given text: the probability and rank of each of its tokens, and what greedy decoding had picked there.

Owns how a text that was not decoded becomes a Trace. The function is as thread-safe as the model's `score`.
"""

from collections.abc import Sequence
from dataclasses import replace

from decoding.engines import Engine
from decoding.messages import Message
from decoding.record.step import make_step
from decoding.record.trace import Trace
from decoding.requests.arguments import check_model
from decoding.requests.message_request import check_as_message
from decoding.requests.run_request import (
    check_choices,
    check_continuation,
    check_prompt,
    check_top_k,
    continuation_ids,
    prompt_ids,
)
from decoding.requests.tokenization_remarks import prompt_remarks, text_remarks


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
    check_model(model)
    check_top_k(model, top_k)
    start = prompt_ids(model, prompt, as_message=check_as_message(as_message))
    ids = continuation_ids(model, start, continuation, prompt="" if as_message else prompt)
    read = _score_ids(model, prompt, start, ids, top_k=top_k, engine=Message("kind.given"), as_message=as_message)
    return replace(read, remarks=(*read.remarks, *text_remarks(model, continuation, start, ids)))


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
