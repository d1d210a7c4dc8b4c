"""Why a step picked its token: what the layers say (logit lens), and what the text says without a part of it.

Owns both records. Knows no model and no page; `decoding.record.why_fields` reads them from a file. Both belong to one
step of one run, and are optional in its JSON Lines.
"""

import math
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal, get_args

from pydantic import TypeAdapter

from decoding.record.step import Candidate, Nats, json_line
from decoding.record.tokens import Token

Unit = Literal["tokens", "words"]
"""What is left out at a time."""
UNITS: tuple[str, ...] = get_args(Unit)


@dataclass(frozen=True, slots=True)
class LensLayer:
    """What the last norm and the head make of one layer's state at the step's position; no layer is tuned for it.

    `leader` is that layer's most probable token. `logprobs` (nats) and `ranks` (0 for the most probable) are those of
    the lens's `tokens`, in their order.
    """

    leader: Candidate
    logprobs: tuple[Nats, ...]
    ranks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Lens:
    """A logit lens on step `step` (counted from 0).

    `tokens` are followed through the layers; the first of them is the step's pick. `layers` has one more entry than the
    model has layers: the embedding, then the state after each layer. The last one is the step itself.
    """

    step: int
    tokens: tuple[Token, ...]
    layers: tuple[LensLayer, ...]

    @property
    def leads_from(self) -> int | None:
        """The layer from which on the pick leads to the end; 0 is the embedding. None if it does not lead there."""
        pick = self.tokens[0].token_id
        behind = [number for number, layer in enumerate(self.layers) if layer.leader.token_id != pick]
        first = behind[-1] + 1 if behind else 0
        return first if first < len(self.layers) else None

    def to_json(self) -> str:
        """The lens as one line of JSON Lines, without the newline."""
        return json_line(_LENS_LINE, _LensLine(self))


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What the model says where the `count` tokens from position `first` on are left out.

    Positions count from 0 through the prompt's tokens and then the picks. `logprob` (nats) and `rank` are the pick's
    without this part, `against_logprob` is the other candidate's (None without one), and `instead` is the most probable
    token.
    """

    first: int
    count: int
    logprob: Nats
    rank: int
    instead: Candidate
    against_logprob: Nats | None = None

    @property
    def probability(self) -> float:
        """The pick's probability without this part."""
        return math.exp(self.logprob)


@dataclass(frozen=True, slots=True)
class LeaveOneOut:
    """Step `step` (counted from 0) asked again with one part of the text left out at a time.

    `picked` is the step's pick with the whole text, `against` another of its candidates or None. `by` says what a part
    is. `parts` stand in the order of the text.
    """

    step: int
    by: Unit
    picked: Candidate
    parts: tuple[LeftOut, ...]
    against: Candidate | None = None

    def change(self, part: LeftOut) -> float:
        """By how much the pick's probability changes without this part: below 0 if the part speaks for the pick.

        Against another candidate, it is the change of the difference of their log-probabilities, in nats.
        """
        if self.against is None or part.against_logprob is None:
            return part.probability - self.picked.probability
        whole = self.picked.logprob - self.against.logprob
        return (part.logprob - part.against_logprob) - whole

    def progress(self, before: int) -> tuple[int, int]:
        """How many tokens were left out, and how many were to be: fewer in an answer that was stopped.

        `before` is how many tokens the text before the step has. The last part of a finished answer ends that text.
        """
        if not self.parts:
            return 0, before
        first, last = self.parts[0].first, self.parts[-1]
        return last.first + last.count - first, before - first

    def to_json(self) -> str:
        """The answer as one line of JSON Lines, without the newline."""
        return json_line(_LEAVE_ONE_OUT_LINE, _LeaveOneOutLine(self))


@dataclass(frozen=True, slots=True)
class _LensLine:
    lens: Lens


@dataclass(frozen=True, slots=True)
class _LeaveOneOutLine:
    leave_one_out: LeaveOneOut


_LENS_LINE = TypeAdapter(_LensLine)
_LEAVE_ONE_OUT_LINE = TypeAdapter(_LeaveOneOutLine)


def parts_of(tokens: Iterable[Token], by: Unit) -> list[tuple[int, int]]:
    """The parts of a text, as pairs (first position, number of tokens) in order. Bytes of one character are never
    parted. A word is what belongs together without a space or a sign between, in the text that the tokens make.
    """
    parts: list[tuple[int, int]] = []
    written: list[bytes] = []
    for position, token in enumerate(tokens):
        data = token.text.encode("utf-8", "replace") if token.bytes is None else token.bytes
        if parts and _is_within(token):
            parts[-1] = (parts[-1][0], parts[-1][1] + 1)
            written[-1] += data
        else:
            parts.append((position, 1))
            written.append(data)
    return parts if by == "tokens" else _words(parts, [data.decode("utf-8", "replace") for data in written])


def _is_within(token: Token) -> bool:
    """Whether a token begins in the middle of a character (RFC 3629)."""
    return token.bytes is not None and token.bytes[:1] >= b"\x80" and token.bytes[:1] < b"\xc0"


def _words(parts: list[tuple[int, int]], texts: list[str]) -> list[tuple[int, int]]:
    """The parts, joined where one word goes on from each to the next. `texts` are theirs."""
    kinds = "".join(map(_kind, "".join(texts)))
    inside = {at for word in _WORD.finditer(kinds) for at in range(word.start() + 1, word.end())}
    words: list[tuple[int, int]] = []
    begin = 0
    for (first, count), end in zip(parts, accumulate(map(len, texts)), strict=True):
        if words and begin in inside:
            words[-1] = (words[-1][0], words[-1][1] + count)
        else:
            words.append((first, count))
        begin = end
    return words


_WORD = re.compile("(?:[a1]m*|(?<=1)[.](?=1))+|[^s]m+")
"""A word in kinds of characters: letters and digits with their marks, and the sign within a number."""


def _kind(character: str) -> str:
    """ "a" for a letter, "1" for a digit, "m" for a mark, "." for a sign that stands in numbers, "s" for a space. Each
    Chinese character or kana is a word of its own. A single Hangul letter is not, though its number in Unicode lies
    between those of kana and of Chinese characters.
    """
    if unicodedata.category(character)[0] == "M" or character in "\u200c\u200d":
        return "m"
    if "\u3040" <= character <= "\u9fff" and not "\u3131" <= character <= "\u318e":
        return "-"
    if character in ".,":
        return "."
    if character.isspace():
        return "s"
    return "1" if character.isdecimal() else "a" if character.isalnum() or character in "'\u2019" else "-"
