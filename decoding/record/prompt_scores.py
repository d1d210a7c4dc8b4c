"""The scores of a prompt's own tokens: how the model would have bet on each of them.

Owns `PromptScore`, its line of JSON Lines, and the rules that such a line from outside has to keep. Knows no model.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from decoding import limits
from decoding.messages import Message
from decoding.record import field_values
from decoding.record.contradiction_error import ContradictionError
from decoding.record.step import Nats, json_line
from decoding.record.tokens import Token

_MOST_NATS = math.log(limits.MAX_VOCABULARY)
_NATS = 0.01


@dataclass(frozen=True, slots=True)
class PromptScore:
    """A token of a prompt: its log-probability (nats) after those before it, its rank there (0: argmax would have
    written it), and the entropy of that place (nats; NaN if the engine does not know it).
    """

    logprob: Nats
    rank: int
    entropy: Nats


@dataclass(frozen=True, slots=True)
class _Line:
    prompt_scores: tuple[PromptScore, ...]


_LINE = TypeAdapter(_Line)


def prompt_scores_line(scores: Sequence[PromptScore]) -> str:
    """The line of JSON Lines, without the newline."""
    return json_line(_LINE, _Line(tuple(scores)))


def read_prompt_scores(record: dict[str, Any]) -> tuple[PromptScore, ...]:
    """The scores of a line. Raises FieldError."""
    field_values.check_names(record, ("prompt_scores",))
    return field_values.read_list(record, "prompt_scores", limits.MAX_TEXT_TOKENS, _score)


def check_prompt_scores(scores: Sequence[PromptScore], tokens: Sequence[Token]) -> None:
    """Check scores against the prompt's tokens. Raises ContradictionError."""
    if not 0 < len(scores) < max(1, len(tokens)):
        raise ContradictionError(Message("read.wrong.prompt.scores"))
    for score in scores:
        if not math.isnan(score.entropy) and not -_NATS <= score.entropy <= _MOST_NATS + _NATS:
            raise ContradictionError(Message("read.wrong.prompt.entropy"))
        # Each token that is ranked before it is at least as probable.
        if (score.rank + 1) * math.exp(score.logprob) > 1 + _NATS:
            raise ContradictionError(Message("read.wrong.prompt.rank"))


def _score(value: Any) -> PromptScore:
    record = field_values.read_object(value)
    field_values.check_names(record, ("logprob", "rank", "entropy"))
    return PromptScore(
        logprob=-math.inf if record["logprob"] is None else field_values.read_number(record, "logprob", -1e9, 0),
        rank=field_values.read_whole(record, "rank", 0, limits.MAX_VOCABULARY - 1),
        entropy=math.nan if record["entropy"] is None else field_values.read_number(record, "entropy", -1e9, 1e9),
    )
