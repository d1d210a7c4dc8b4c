"""What a class's vote is sent: a teacher's question and its reveal, and a student's answer.

Owns the parsing of their JSON into types, within the bounds of `decoding/limits.py`. Knows no session and no HTTP.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import isfinite
from typing import Any

from decoding.limits import (
    MAX_CHOICES,
    MAX_TEXT_TOKENS,
    MAX_VOCABULARY,
    MAX_VOTE_ANSWER_CHARACTERS,
    MAX_VOTE_QUESTIONS,
    MAX_VOTE_SECONDS,
    MAX_VOTE_TEXT_CHARACTERS,
)

_STUDENT_ID = re.compile(r"[A-Za-z0-9_-]{22,43}")


class Refusal(StrEnum):
    """Why a request of a vote is refused. Each has its sentence in assets/texts/, under "vote.error."."""

    INVALID = "invalid"
    UNKNOWN = "unknown"
    """There is no session of this code, or it has ended."""
    NO_RIGHT = "no_right"
    SESSIONS_FULL = "sessions_full"
    CLASS_FULL = "class_full"
    QUESTIONS_FULL = "questions_full"
    LATE = "late"
    """The question is revealed already, or another one is open."""
    TOO_OFTEN = "too_often"
    TOO_FAST = "too_fast"


class VoteError(Exception):
    """A refused request of a vote."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.value)
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class Question:
    """What the class is asked. `number` counts the questions of a session from 0; `step` counts from 1, as on the page.
    `labels` are the candidates in the order in which they are offered, which says nothing about them.
    """

    number: int
    step: int
    text: str
    labels: tuple[str, ...]
    seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A student's answer to a question: the place of a candidate, or a typed text."""

    number: int
    place: int | None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Option:
    """A candidate. `text` is None where a typed text cannot be it, as for half a character."""

    text: str | None
    rank: int
    probability: float


@dataclass(frozen=True, slots=True)
class Reveal:
    """The model's own numbers for the candidates of a question, in the order of its labels.

    `picked` is the place of the token that the text continues with. Of a token that is not among the candidates only a
    bound is known: its probability is `beyond` at most.
    """

    number: int
    options: tuple[Option, ...]
    picked: int
    beyond: float


def parse_student_id(value: Any) -> str:
    """A student's id: random characters, made by the student's own page. Raises VoteError for any other value."""
    return value if isinstance(value, str) and _STUDENT_ID.fullmatch(value) else _refuse()


def parse_question(fields: Any) -> Question:
    """Raises VoteError for a value that is missing, of another type or beyond its bound."""
    labels = _items(fields, "labels")
    seconds = fields.get("seconds")
    return Question(
        number=_whole(fields, "number", MAX_VOTE_QUESTIONS),
        step=_whole(fields, "step", MAX_TEXT_TOKENS, least=1),
        text=_text(fields.get("text"), MAX_VOTE_TEXT_CHARACTERS),
        labels=tuple(_text(label, MAX_VOTE_ANSWER_CHARACTERS) for label in labels),
        seconds=None if seconds is None else _whole(fields, "seconds", MAX_VOTE_SECONDS, least=1),
    )


def parse_answer(fields: Any) -> Answer:
    """Raises VoteError for a value that is missing, of another type or beyond its bound."""
    if not isinstance(fields, dict) or ("place" in fields) == ("text" in fields):
        _refuse()
    number = _whole(fields, "number", MAX_VOTE_QUESTIONS)
    if "place" in fields:
        return Answer(number, _whole(fields, "place", MAX_CHOICES))
    text = _text(fields["text"], MAX_VOTE_ANSWER_CHARACTERS)
    return Answer(number, None, text) if text.strip() else _refuse()


def parse_reveal(fields: Any) -> Reveal:
    """Raises VoteError for a value that is missing, of another type or beyond its bound."""
    options = tuple(map(_option, _items(fields, "options")))
    if len({option.rank for option in options}) < len(options):
        _refuse()
    return Reveal(
        number=_whole(fields, "number", MAX_VOTE_QUESTIONS),
        options=options,
        picked=_whole(fields, "picked", len(options) - 1),
        beyond=_share(fields, "beyond"),
    )


def _option(fields: Any) -> Option:
    if not isinstance(fields, dict):
        _refuse()
    text = fields.get("text")
    return Option(
        text=None if text is None else _text(text, MAX_VOTE_ANSWER_CHARACTERS),
        rank=_whole(fields, "rank", MAX_VOCABULARY),
        probability=_share(fields, "probability"),
    )


def _items(fields: Any, name: str) -> Sequence[Any]:
    """A list of 1 to `MAX_CHOICES` items, and one for a pick beyond the candidates."""
    items = fields.get(name) if isinstance(fields, dict) else None
    return items if isinstance(items, list) and 1 <= len(items) <= MAX_CHOICES + 1 else _refuse()


def _whole(fields: Any, name: str, most: int, *, least: int = 0) -> int:
    value = fields.get(name)
    return value if type(value) is int and least <= value <= most else _refuse()


def _share(fields: Any, name: str) -> float:
    value = fields.get(name)
    if type(value) not in (int, float) or not isfinite(value) or not 0 <= value <= 1:
        _refuse()
    return float(value)


def _text(value: Any, most: int) -> str:
    """The text, with half a surrogate pair replaced, since nothing could be sent that contains one."""
    if not isinstance(value, str) or len(value) > most:
        _refuse()
    return str(value.encode("utf-8", "replace").decode())


def _refuse() -> Any:
    raise VoteError(Refusal.INVALID)
