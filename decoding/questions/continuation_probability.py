"""The probability of a text that a person names: what the model gives its tokens at a step, shown there or not.

Owns that question. It makes no run: the model reads the text once, and every number is exact, out of the whole
vocabulary. Knows no page.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from decoding.engines import Engine
from decoding.errors import RequestError
from decoding.limits import MAX_TEXT_TOKENS
from decoding.messages import Message
from decoding.questions.same_model import check_same_model
from decoding.record.step import finite_or_none, make_candidate
from decoding.record.trace import Candidate, Trace
from decoding.requests.arguments import check_trace
from decoding.requests.run_request import check_continuation, check_prompt, continuation_ids, prompt_ids
from decoding.requests.tokenization_remarks import text_remarks
from decoding.requests.values import is_whole, json_type_of, shown, shown_id


@dataclass(frozen=True, slots=True)
class TextProbability:
    """What a model gives a text at a place: each of its tokens, after those before it.

    `remarks` are sentences about what was read, if that is not what was typed.
    """

    text: str
    tokens: tuple[Candidate, ...]
    remarks: tuple[str, ...] = ()

    @property
    def logprob(self) -> float:
        """The log-probability (nats) of the whole text."""
        return math.fsum(token.logprob for token in self.tokens)

    @property
    def probability(self) -> float:
        return math.exp(self.logprob)

    def to_json(self) -> str:
        """One JSON object; a log-probability of minus infinity is null."""
        tokens = [
            {
                "token_id": token.token_id,
                "text": token.text,
                **({"bytes": token.bytes.hex()} if token.bytes else {}),
                "probability": token.probability,
                "logprob": finite_or_none(token.logprob),
                "rank": token.rank,
            }
            for token in self.tokens
        ]
        whole = {
            "text": self.text,
            "probability": self.probability,
            "logprob": finite_or_none(self.logprob),
            "tokens": tokens,
        }
        return json.dumps(whole | {"remarks": self.remarks}, ensure_ascii=False, allow_nan=False)


def probability(model: Engine, trace: Trace, step: int, text: str) -> TextProbability:
    """The probability of `text` at `step` of a run, after the picks before it: of each token, and of all.

    Steps are counted from 0; the one after the last is the place where the run has ended. Raises RequestError for a
    step that does not exist, for an empty text, and for one that is too long or that the model cannot read.

    >>> run = decoding.trace(model, "Transformers are the", max_new_tokens=3, top_k=2)
    >>> named = decoding.probability(model, run, 1, " popular")
    >>> [(token.text, token.rank, f"{token.probability:.2%}") for token in named.tokens]
    [(' popular', 3, '3.72%')]
    """
    check_trace(trace)
    if not is_whole(step) or step not in range(len(trace.steps) + 1):
        raise RequestError(Message("named.step", last=len(trace.steps), step=shown(step)), field="text")
    check_same_model(model, trace)
    picked = trace.generated_token_ids[: int(step)]
    return probability_after(model, trace.prompt, picked, text, as_message=trace.as_message)


def probability_after(
    model: Engine, prompt: str, picked: object, text: object, *, as_message: bool = False
) -> TextProbability:
    """The probability of a text after a prompt and the ids `picked` since. Raises what `probability` raises."""
    prompt, text = check_prompt(prompt), check_continuation(text)
    before = [*prompt_ids(model, prompt, as_message=as_message), *check_picked(model, picked)]
    ids = continuation_ids(model, before, text, prompt="" if as_message else prompt)
    vocabulary, tokens = model.vocabulary, []
    for index, scores in enumerate(model.score(before, ids, top_k=2)):
        assert scores.picked is not None
        tokens.append(make_candidate(vocabulary.decoder_after([*before, *ids[:index]]), scores.picked))
    return TextProbability(text, tuple(tokens), text_remarks(model, text, before, ids))


def check_picked(model: Engine, picked: object) -> Sequence[int]:
    """The ids that a run has picked. Raises RequestError for anything but ids of the model, and for too many."""
    if not isinstance(picked, list | tuple):
        raise RequestError(Message("given.ids", type=json_type_of(picked)), field="text")
    if len(picked) > MAX_TEXT_TOKENS:
        raise RequestError(Message("named.number", count=f"{len(picked):,}", most=f"{MAX_TEXT_TOKENS:,}"), field="text")
    for token_id in picked:
        if not is_whole(token_id) or not 0 <= token_id < model.vocabulary_size:
            raise RequestError(
                Message("named.ids", id=shown_id(token_id), model=model.info.id, last=model.vocabulary_size - 1),
                field="text",
            )
    return [int(token_id) for token_id in picked]
