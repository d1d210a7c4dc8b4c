"""Checks the fields of a line of JSON Lines: their types, names and sizes.

Owns what a field may hold. A file may come from anybody, so reading ends at the first fault, and no number in a line
decides how much memory is allocated. (Pydantic collects all faults: a line of 4 MB of "1," cost it 2.7 GB.) Knows
nothing of how the fields fit together. Every function raises FieldError for a value that is not allowed.
"""

import json
import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, NoReturn, TypeVar

from decoding import limits
from decoding.record.repetition import Loop
from decoding.record.step import NO_ID, Candidate, Step
from decoding.record.tokens import Token

Item = TypeVar("Item")

_HEADER = ("format", "version", "model", "prompt", "prompt_token_ids", "prompt_tokens", "max_new_tokens", "top_k")
_MODEL = ("id", "revision", "dtype", "device", "engine")
_TOKEN = ("token_id", "text")
_CANDIDATE = ("token_id", "text", "probability", "logprob", "rank")
_STEP = ("index", "picked", "forced", "candidates", "rest", "entropy", "margin")
_LOOP = ("start", "period", "repeats")
_STOP_REASONS = ("steps", "end_of_text", "context_full", "stopped", "error")

_MOST_BRACKETS = limits.MAX_PROMPT_TOKENS + 2 * limits.MAX_PROMPT_CHARACTERS + 10
"""The most opening brackets in a first line: one per token, and those in the texts of the prompt and its tokens."""


class FieldError(ValueError):
    """A field with a value that is not allowed. `place` is the path to it, from the outermost name inwards."""

    def __init__(self, said: str, *place: str | int) -> None:
        super().__init__(said)
        self.said, self.place = said, place

    def within(self, *place: str | int) -> "FieldError":
        """The same fault with the path seen from one level further out."""
        return FieldError(self.said, *place, *self.place)


# ---- the lines


def parse_line(line: str, most: int = limits.MAX_STEP_CHARACTERS) -> dict[str, Any]:
    """The JSON object of a line. Raises FieldError for any other line, and for one of more than `most` characters."""
    if len(line) > most:
        raise FieldError(f"it has {len(line):,} characters, and at most {most:,} are read")
    if line.count("[") + line.count("{") > _MOST_BRACKETS:  # parsing allocates memory for each
        raise FieldError(f"it has more than {_MOST_BRACKETS:,} brackets")
    try:
        record = json.loads(line, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise FieldError("it is not JSON") from None
    return _object(record)


def read_header(record: dict[str, Any]) -> dict[str, Any]:
    """The fields of the header: `model` as a dict, the tokens as Tokens."""
    _check_names(record, _HEADER, ("note", "remarks"))
    model = _read_at("model", _object, record["model"])
    return {
        "model": _read_at("model", _model, model),
        "prompt": _text(record, "prompt", limits.MAX_PROMPT_CHARACTERS),
        "prompt_token_ids": _list(record, "prompt_token_ids", limits.MAX_PROMPT_TOKENS, _id_of),
        "prompt_tokens": _list(record, "prompt_tokens", limits.MAX_PROMPT_TOKENS, _token),
        "max_new_tokens": _whole(record, "max_new_tokens", 0, limits.MAX_TEXT_TOKENS),
        "top_k": _whole(record, "top_k", 1, limits.MAX_CHOICES),
        "note": _text(record, "note", limits.MAX_NOTE_CHARACTERS) if "note" in record else "",
        "remarks": _list(record, "remarks", limits.MAX_REMARKS, _remark) if "remarks" in record else (),
    }


def read_step(record: dict[str, Any]) -> Step:
    """The step of a line."""
    _check_names(record, _STEP, ("log_sums",))
    candidates = _list(record, "candidates", limits.MAX_CHOICES, _candidate)
    if not candidates:
        raise FieldError("it is empty", "candidates")
    return Step(
        index=_whole(record, "index", 0, limits.MAX_TEXT_TOKENS - 1),
        picked=_read_at("picked", _candidate, record["picked"]),
        forced=_boolean(record, "forced"),
        candidates=candidates,
        rest=_number(record, "rest", 0, 1),
        entropy=math.nan if record["entropy"] is None else _number(record, "entropy", -1e9, 1e9),
        margin=_number(record, "margin", 0, 1),
        log_sums=_list(record, "log_sums", limits.MAX_LOG_SUMS, _log_sum) if "log_sums" in record else (),
    )


def read_end(record: dict[str, Any]) -> dict[str, Any]:
    """The fields of the last line, with the loops as Loops."""
    _check_names(record, ("stop_reason",), ("message", "loops"))
    if record["stop_reason"] not in _STOP_REASONS:
        raise FieldError(f"it has to be one of {', '.join(_STOP_REASONS)}", "stop_reason")
    return {
        "stop_reason": record["stop_reason"],
        "message": _text(record, "message", limits.MAX_NOTE_CHARACTERS) if "message" in record else "",
        "loops": _list(record, "loops", limits.MAX_TEXT_TOKENS, _loop) if "loops" in record else (),
    }


# ---- what lines are made of


def _model(record: dict[str, Any]) -> dict[str, str]:
    _check_names(record, _MODEL, ("why",))
    return {name: _text(record, name, limits.MAX_NOTE_CHARACTERS) for name in record}


def _token(value: Any) -> Token:
    record = _object(value)
    _check_names(record, _TOKEN, ("bytes",))
    return Token(_token_id(record), _text(record, "text", limits.MAX_TOKEN_CHARACTERS), _bytes(record))


def _candidate(value: Any) -> Candidate:
    record = _object(value)
    _check_names(record, _CANDIDATE, ("bytes",))
    return Candidate(
        _token_id(record),
        _text(record, "text", limits.MAX_TOKEN_CHARACTERS),
        _number(record, "probability", 0, 1),
        -math.inf if record["logprob"] is None else _number(record, "logprob", -1e9, 0),
        _whole(record, "rank", 0, limits.MAX_VOCABULARY - 1),
        _bytes(record),
    )


def _log_sum(value: Any) -> tuple[float, float]:
    if type(value) is not list or len(value) != 2:
        raise FieldError("it has to be a pair of numbers")
    pair = dict(enumerate(value))
    return (
        _number(pair, 0, 1 / limits.MAX_POWER, limits.MAX_POWER),
        _number(pair, 1, -limits.MAX_LOG_SUM, limits.MAX_LOG_SUM),
    )


def _loop(value: Any) -> Loop:
    record = _object(value)
    _check_names(record, _LOOP)
    return Loop(*(_whole(record, name, 0, limits.MAX_TEXT_TOKENS) for name in _LOOP))


def _token_id(record: dict[str, Any]) -> int:
    return _whole(record, "token_id", NO_ID, limits.MAX_VOCABULARY - 1)


def _id_of(value: Any) -> int:
    return _whole({"": value}, "", NO_ID, limits.MAX_VOCABULARY - 1)


# ---- what fields are made of


def _read_at(name: str | int, read: Callable[[Any], Item], value: Any) -> Item:
    try:
        return read(value)
    except FieldError as error:
        raise error.within(name) from None


def _check_names(record: dict[str, Any], required: Sequence[str], optional: Iterable[str] = ()) -> None:
    for name in required:
        if name not in record:
            raise FieldError("it is missing", name)
    for name in record:
        if name not in required and name not in optional:
            raise FieldError("there is no such field", name[:40])


def _object(value: Any) -> dict[str, Any]:
    if type(value) is not dict:
        raise FieldError("it has to be an object")
    return value


def _remark(value: Any) -> str:
    return _text({"remark": value}, "remark", limits.MAX_NOTE_CHARACTERS)


def _list(record: dict[str, Any], name: str, most: int, read: Callable[[Any], Item]) -> tuple[Item, ...]:
    value = record[name]
    if type(value) is not list:
        raise FieldError("it has to be a list", name)
    if len(value) > most:
        raise FieldError(f"it has {len(value):,} entries, and at most {most:,} are read", name)
    read_so_far: list[Item] = []
    try:
        for entry in value:
            read_so_far.append(read(entry))
    except FieldError as error:
        raise error.within(name, len(read_so_far)) from None
    return tuple(read_so_far)


def _text(record: dict[str, Any], name: str, most: int) -> str:
    value = record[name]
    if type(value) is not str:
        raise FieldError("it has to be text", name)
    if len(value) > most:
        raise FieldError(f"it has {len(value):,} characters, and at most {most:,} are read", name)
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise FieldError("it holds half of a surrogate pair", name) from None
    return value


def _whole(record: dict[str, Any], name: str, least: int, most: int) -> int:
    value = record[name]
    if type(value) is not int or not least <= value <= most:
        raise FieldError(f"it has to be a whole number from {least:,} to {most:,}", *filter(None, [name]))
    return value


def _number(record: dict[Any, Any], name: str | int, least: float, most: float) -> float:
    value = record[name]
    if (type(value) is not float and type(value) is not int) or not least <= value <= most:  # false for NaN
        raise FieldError(f"it has to be a number from {least:g} to {most:g}", name)
    return float(value)


def _boolean(record: dict[str, Any], name: str) -> bool:
    value = record[name]
    if type(value) is not bool:
        raise FieldError("it has to be true or false", name)
    return value


def _bytes(record: dict[str, Any]) -> bytes | None:
    if record.get("bytes") is None:
        return None
    digits = _text(record, "bytes", 8 * limits.MAX_TOKEN_CHARACTERS)
    data = None
    with suppress(ValueError):
        data = bytes.fromhex(digits)
    if data is None or len(data) * 2 != len(digits):  # fromhex would accept spaces between the digits
        raise FieldError("it has to be pairs of hexadecimal digits", "bytes")
    return data


def _no_number(written: str) -> NoReturn:
    raise ValueError(written)
