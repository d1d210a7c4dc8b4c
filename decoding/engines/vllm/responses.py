"""Parses a vLLM server's responses into step scores, and checks them.

Owns the format of vLLM's completions. Knows no network. Tokens are named by id, as "token_id:42", because different ids
may have the same text.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from decoding.errors import ModelError
from decoding.messages import Message
from decoding.record.step import ScoredToken, StepScores

_ID = "token_id:"
_IMPOSSIBLE = -9999.0
"""How vLLM writes the logarithm of zero, for which JSON has no number."""
_ROUNDING = 1e-3
"""Probabilities may exceed 1 by this much in sum, from float32, or bfloat16 summed in another order."""


class BrokenAnswerError(Exception):
    """An answer that broke off or makes no sense; another replica may answer the same request.

    The message is the reason in a few words. `last_data` is when data last came, on the clock of `time.monotonic`.
    """

    def __init__(self, message: str, *, last_data: float | None = None) -> None:
        super().__init__(message)
        self.last_data = last_data


@dataclass(frozen=True, slots=True)
class ResponseParser:
    """Parses responses of a model with `size` ids, with `top_k` candidates per step."""

    model: str
    size: int
    top_k: int

    def parse_stream(self, choice: Any) -> list[StepScores]:
        """The scores in a streamed chunk, which may hold any number of tokens. Raises BrokenAnswerError if it cannot be
        parsed, ModelError if it cannot be right.
        """
        try:
            logprobs = choice["logprobs"] or {"tokens": [], "top_logprobs": []}
            picked = [_token_id(token) for token in logprobs["tokens"]]
            tops = [{_token_id(token): float(x) for token, x in top.items()} for top in logprobs["top_logprobs"]]
            pairs = list(zip(picked, tops, strict=True))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BrokenAnswerError(Message("engine.why.garbled")) from error
        steps = [self._scores(top, token_id) for token_id, top in pairs]
        for scores, token_id in zip(steps, picked, strict=True):
            # Logits whose float32 logarithms are equal tie here; the server's pick decides.
            if scores.token_ids[0] != token_id:
                raise ModelError(Message("engine.greedy"))
        return steps

    def parse_prompt(self, prompt_logprobs: Any, token_ids: list[int]) -> list[StepScores]:
        """The scores of a text's last `token_ids`, which are their picks. Raises what `parse_stream` raises."""
        try:
            rows = [_row(row) for row in prompt_logprobs[-len(token_ids) :]]
            pairs = [(row, row[token_id][1]) for row, token_id in zip(rows, token_ids, strict=True)]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BrokenAnswerError(Message("engine.why.garbled")) from error
        steps = []
        for (row, rank), token_id in zip(pairs, token_ids, strict=True):
            scores = self._scores({name: logprob for name, (logprob, _) in row.items()})
            steps.append(with_pick(scores, token_id) or _with_rest(scores, token_id, row[token_id][0], rank))
        return steps

    def _scores(self, logprobs: Mapping[int, float], picked: int | None = None) -> StepScores:
        """The `top_k` candidates: most probable first, in a tie the server's pick first, then the lower id."""
        wrong = next((token_id for token_id in logprobs if token_id not in range(self.size)), None)
        if wrong is not None:
            raise ModelError(Message("engine.ids", id=wrong, model=self.model, last=self.size - 1))
        ranked = sorted(logprobs, key=lambda token_id: (-logprobs[token_id], token_id != picked, token_id))[
            : self.top_k
        ]
        if len(ranked) < min(self.top_k, self.size):
            raise ModelError(Message("engine.too_few", count=len(ranked), asked=self.top_k))
        shares = [_exact(logprobs[token_id]) for token_id in ranked]
        total = math.fsum(map(math.exp, shares)) if max(shares) < 1 else math.inf
        if not total < 1 + _ROUNDING:  # false for NaN
            raise ModelError(Message("engine.logprobs"))
        more = math.log(total) if total > 1 else 0.0  # rounding: the sum may not exceed 1
        # A server reports nothing about the rest of the vocabulary, so entropy and logits are unknown.
        return StepScores(tuple(ranked), tuple(min(0.0, share - more) for share in shares), math.nan)


def with_pick(scores: StepScores, token_id: int) -> StepScores | None:
    """The scores with one of their candidates as the pick; None if the id is not among them."""
    if token_id not in scores.token_ids:
        return None
    rank = scores.token_ids.index(token_id)
    pick = ScoredToken(token_id, scores.logprobs[rank], rank)
    return StepScores(scores.token_ids, scores.logprobs, scores.entropy, picked=pick)


def _with_rest(scores: StepScores, token_id: int, logprob: float, rank: int) -> StepScores:
    """The scores with a pick that is not among their candidates; `rank` counts from 1, as on the server."""
    pick = ScoredToken(token_id, min(_exact(logprob), scores.logprobs[-1]), max(rank - 1, len(scores.token_ids)))
    return StepScores(scores.token_ids, scores.logprobs, scores.entropy, picked=pick)


def _row(row: Any) -> dict[int, tuple[float, int]]:
    return {int(token): (float(score["logprob"]), int(score["rank"])) for token, score in row.items()}


def _token_id(token: str) -> int:
    if not token.startswith(_ID):
        raise ValueError(token)
    return int(token.removeprefix(_ID))


def _exact(logprob: float) -> float:
    return -math.inf if logprob <= _IMPOSSIBLE else logprob
