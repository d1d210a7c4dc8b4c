"""A server's answers as readouts: what it may say, and what is checked before anybody sees it.

Owns the shape of vLLM's completions. Knows no network. A server names its tokens by id, as "token_id:42", because texts
collapse: two ids may print alike.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from decoding.errors import ModelError
from decoding.record.step import ScoredToken, StepScores

_ID = "token_id:"
_IMPOSSIBLE = -9999.0
"""How vLLM writes the logarithm of zero, which JSON has no number for."""
_ROUNDING = 1e-3
"""By so much float32, or bfloat16 summed in some other order, may say that candidates have more than there is."""


class BrokenAnswerError(Exception):
    """An answer that broke off, or makes no sense: the same question may be answered by somebody else. The message says
    why in a few words, and `heard` is when something last came, on the clock of `time.monotonic`.
    """

    def __init__(self, message: str, *, heard: float | None = None) -> None:
        super().__init__(message)
        self.heard = heard


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads answers of a model that has `size` ids, with `top_k` candidates each."""

    model: str
    size: int
    top_k: int

    def written(self, choice: Any) -> list[StepScores]:
        """The readouts of a streamed chunk, which may hold any number of tokens. Raises BrokenAnswerError for what
        cannot be read, ModelError for what cannot be right.
        """
        try:
            said = choice["logprobs"] or {"tokens": [], "top_logprobs": []}
            picked = [_token_id(token) for token in said["tokens"]]
            tops = [{_token_id(token): float(x) for token, x in top.items()} for top in said["top_logprobs"]]
            pairs = list(zip(picked, tops, strict=True))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BrokenAnswerError("its answer cannot be read") from error
        readouts = [self._readout(top, token_id) for token_id, top in pairs]
        for readout, token_id in zip(readouts, picked, strict=True):
            # Logits that differ by less than a logarithm in float32 can tell are equal here, and then the server knows.
            if readout.token_ids[0] != token_id:
                raise ModelError(
                    "The model's server did not pick the most probable token: it does not decode greedily. Its run "
                    "ends here."
                )
        return readouts

    def given(self, prompt_logprobs: Any, token_ids: list[int]) -> list[StepScores]:
        """The readouts of a text's last `token_ids`, with them as picks. Raises as `written` does."""
        try:
            rows = [_row(row) for row in prompt_logprobs[-len(token_ids) :]]
            pairs = [(row, row[token_id][1]) for row, token_id in zip(rows, token_ids, strict=True)]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BrokenAnswerError("its answer cannot be read") from error
        readouts = []
        for (row, rank), token_id in zip(pairs, token_ids, strict=True):
            readout = self._readout({name: logprob for name, (logprob, _) in row.items()})
            readouts.append(with_pick(readout, token_id) or _with_rest(readout, token_id, row[token_id][0], rank))
        return readouts

    def _readout(self, logprobs: Mapping[int, float], picked: int | None = None) -> StepScores:
        """The top of what was said: most probable first, in a tie what was picked, then the lower id."""
        wrong = next((token_id for token_id in logprobs if token_id not in range(self.size)), None)
        if wrong is not None:
            raise ModelError(
                f"The model's server answers with the token id {wrong}, and {self.model} has the ids 0 to "
                f"{self.size - 1}: it serves another model."
            )
        ranked = sorted(logprobs, key=lambda token_id: (-logprobs[token_id], token_id != picked, token_id))[
            : self.top_k
        ]
        if len(ranked) < min(self.top_k, self.size):
            raise ModelError(
                f"The model's server gives {len(ranked)} candidates where {self.top_k} were asked for. It has to be a "
                "vLLM server that names tokens by their ids."
            )
        shares = [_exact(logprobs[token_id]) for token_id in ranked]
        total = math.fsum(map(math.exp, shares)) if max(shares) < 1 else math.inf
        if not total < 1 + _ROUNDING:  # NaN is not
            raise ModelError(
                "The model's server sends numbers that are not log-probabilities. Start it without --logprobs-mode."
            )
        more = math.log(total) if total > 1 else 0.0  # by rounding: together they have no more than all there is
        # Of the rest of the vocabulary a server says nothing, so its entropy and its logits are not known.
        return StepScores(tuple(ranked), tuple(min(0.0, share - more) for share in shares), math.nan)


def with_pick(readout: StepScores, token_id: int) -> StepScores | None:
    """The readout with one of its candidates picked; None where it is none of them."""
    if token_id not in readout.token_ids:
        return None
    rank = readout.token_ids.index(token_id)
    pick = ScoredToken(token_id, readout.logprobs[rank], rank)
    return StepScores(readout.token_ids, readout.logprobs, readout.entropy, picked=pick)


def _with_rest(readout: StepScores, token_id: int, logprob: float, rank: int) -> StepScores:
    """The readout with a pick that is none of its candidates; `rank` counts from 1, as the server has it."""
    pick = ScoredToken(token_id, min(_exact(logprob), readout.logprobs[-1]), max(rank - 1, len(readout.token_ids)))
    return StepScores(readout.token_ids, readout.logprobs, readout.entropy, picked=pick)


def _row(row: Any) -> dict[int, tuple[float, int]]:
    return {int(token): (float(said["logprob"]), int(said["rank"])) for token, said in row.items()}


def _token_id(token: str) -> int:
    if not token.startswith(_ID):
        raise ValueError(token)
    return int(token.removeprefix(_ID))


def _exact(logprob: float) -> float:
    return -math.inf if logprob <= _IMPOSSIBLE else logprob
