"""Checks the fields of a line of JSON Lines: their types, names and sizes.

Owns what a field may hold. A file may come from anybody, so reading ends at the first fault, and no number in a line
decides how much memory is allocated. (Pydantic collects all faults: a line of 4 MB of "1," cost it 2.7 GB.) Knows
nothing of how the fields fit together; `field_values` reads single values. Every function raises FieldError for a value
that is not allowed.
"""

import json
import math
from contextlib import suppress
from typing import Any, NoReturn

from decoding import limits
from decoding.messages import Message
from decoding.record.field_values import (
    FieldError,
    check_names,
    read_at,
    read_boolean,
    read_list,
    read_number,
    read_object,
    read_text,
    read_whole,
)
from decoding.record.pick_rule import Draw, Sampling
from decoding.record.repetition import Loop
from decoding.record.step import NO_ID, Candidate, Step
from decoding.record.tokens import Token

_HEADER = ("format", "version", "model", "prompt", "prompt_token_ids", "prompt_tokens", "max_new_tokens", "top_k")
_MODEL = ("id", "revision", "dtype", "device", "engine")
_TOKEN = ("token_id", "text")
_CANDIDATE = ("token_id", "text", "probability", "logprob", "rank")
_STEP = ("index", "picked", "forced", "candidates", "rest", "entropy", "margin")
_LOOP = ("start", "period", "repeats")
_SAMPLING = ("temperature", "top_k", "top_p", "seed", "first")
_DRAW = ("probabilities", "picked", "kept", "number")
_STOP_REASONS = ("steps", "end_of_text", "context_full", "stopped", "error")

_MOST_BRACKETS = limits.MAX_PROMPT_TOKENS + 2 * limits.MAX_PROMPT_CHARACTERS + 10
"""The most opening brackets in a first line: one per token, and those in the texts of the prompt and its tokens."""


# ---- the lines


def parse_line(line: str, most: int = limits.MAX_STEP_CHARACTERS) -> dict[str, Any]:
    """The JSON object of a line. Raises FieldError for any other line, and for one of more than `most` characters."""
    if len(line) > most:
        raise FieldError(Message("read.field.characters", count=f"{len(line):,}", most=f"{most:,}"))
    if line.count("[") + line.count("{") > _MOST_BRACKETS:  # parsing allocates memory for each
        raise FieldError(Message("read.field.brackets", most=f"{_MOST_BRACKETS:,}"))
    try:
        record = json.loads(line, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise FieldError(Message("read.field.json")) from None
    return read_object(record)


def read_header(record: dict[str, Any]) -> dict[str, Any]:
    """The fields of the header: `model` as a dict, the tokens as Tokens."""
    check_names(record, _HEADER, ("note", "remarks", "past_end", "sampling", "as_message"))
    model = read_at("model", read_object, record["model"])
    return {
        "model": read_at("model", _model, model),
        "prompt": read_text(record, "prompt", limits.MAX_PROMPT_CHARACTERS),
        "prompt_token_ids": read_list(record, "prompt_token_ids", limits.MAX_PROMPT_TOKENS, _id_of),
        "prompt_tokens": read_list(record, "prompt_tokens", limits.MAX_PROMPT_TOKENS, read_token),
        "max_new_tokens": read_whole(record, "max_new_tokens", 0, limits.MAX_TEXT_TOKENS),
        "top_k": read_whole(record, "top_k", 1, limits.MAX_CHOICES),
        "note": read_text(record, "note", limits.MAX_NOTE_CHARACTERS) if "note" in record else "",
        "remarks": read_list(record, "remarks", limits.MAX_REMARKS, _remark) if "remarks" in record else (),
        "past_end": read_boolean(record, "past_end") if "past_end" in record else False,
        "sampling": read_at("sampling", _sampling, record["sampling"]) if "sampling" in record else None,
        "as_message": read_boolean(record, "as_message") if "as_message" in record else False,
    }


def read_step(record: dict[str, Any]) -> Step:
    """The step of a line."""
    check_names(record, _STEP, ("log_sums", "draw", "past_end"))
    candidates = read_list(record, "candidates", limits.MAX_CHOICES, read_candidate)
    if not candidates:
        raise FieldError(Message("read.field.empty"), "candidates")
    return Step(
        index=read_whole(record, "index", 0, limits.MAX_TEXT_TOKENS - 1),
        picked=read_at("picked", read_candidate, record["picked"]),
        forced=read_boolean(record, "forced"),
        candidates=candidates,
        rest=read_number(record, "rest", 0, 1),
        entropy=math.nan if record["entropy"] is None else read_number(record, "entropy", -1e9, 1e9),
        margin=read_number(record, "margin", 0, 1),
        log_sums=read_list(record, "log_sums", limits.MAX_LOG_SUMS, _log_sum) if "log_sums" in record else (),
        draw=read_at("draw", _draw, record["draw"]) if "draw" in record else None,
        past_end=read_boolean(record, "past_end") if "past_end" in record else False,
    )


def read_end(record: dict[str, Any]) -> dict[str, Any]:
    """The fields of the last line, with the loops as Loops."""
    check_names(record, ("stop_reason",), ("message", "loops"))
    if record["stop_reason"] not in _STOP_REASONS:
        raise FieldError(Message("read.field.choice", names=", ".join(_STOP_REASONS)), "stop_reason")
    return {
        "stop_reason": record["stop_reason"],
        "message": read_text(record, "message", limits.MAX_NOTE_CHARACTERS) if "message" in record else "",
        "loops": read_list(record, "loops", limits.MAX_TEXT_TOKENS, _loop) if "loops" in record else (),
    }


# ---- what lines are made of


def _model(record: dict[str, Any]) -> dict[str, str]:
    check_names(record, _MODEL, ("why",))
    return {name: read_text(record, name, limits.MAX_NOTE_CHARACTERS) for name in record}


def read_token(value: Any) -> Token:
    record = read_object(value)
    check_names(record, _TOKEN, ("bytes",))
    return Token(read_token_id(record), read_text(record, "text", limits.MAX_TOKEN_CHARACTERS), read_bytes(record))


def read_candidate(value: Any) -> Candidate:
    record = read_object(value)
    check_names(record, _CANDIDATE, ("bytes",))
    return Candidate(
        read_token_id(record),
        read_text(record, "text", limits.MAX_TOKEN_CHARACTERS),
        read_number(record, "probability", 0, 1),
        -math.inf if record["logprob"] is None else read_number(record, "logprob", -1e9, 0),
        read_whole(record, "rank", 0, limits.MAX_VOCABULARY - 1),
        read_bytes(record),
    )


def _log_sum(value: Any) -> tuple[float, float]:
    if type(value) is not list or len(value) != 2:
        raise FieldError(Message("read.field.pair"))
    pair = dict(enumerate(value))
    return (
        read_number(pair, 0, 1 / limits.MAX_POWER, limits.MAX_POWER),
        read_number(pair, 1, -limits.MAX_LOG_SUM, limits.MAX_LOG_SUM),
    )


def _sampling(value: Any) -> Sampling:
    record = read_object(value)
    check_names(record, (), _SAMPLING)
    asked = {name: getattr(Sampling(), name) for name in _SAMPLING} | record
    return Sampling(
        temperature=read_number(asked, "temperature", limits.MIN_TEMPERATURE, limits.MAX_TEMPERATURE),
        top_k=read_whole(asked, "top_k", 0, limits.MAX_VOCABULARY),
        top_p=read_number(asked, "top_p", 0, 1),
        seed=read_whole(asked, "seed", 0, limits.MAX_SEED),
        first=read_whole(asked, "first", 0, limits.MAX_TEXT_TOKENS - 1),
    )


def _draw(value: Any) -> Draw:
    record = read_object(value)
    check_names(record, _DRAW)
    return Draw(
        read_list(record, "probabilities", limits.MAX_CHOICES, _share),
        read_number(record, "picked", 0, 1),
        read_whole(record, "kept", 1, limits.MAX_VOCABULARY),
        read_number(record, "number", 0, 1),
    )


def _share(value: Any) -> float:
    return read_number({"": value}, "", 0, 1)


def _loop(value: Any) -> Loop:
    record = read_object(value)
    check_names(record, _LOOP)
    return Loop(*(read_whole(record, name, 0, limits.MAX_TEXT_TOKENS) for name in _LOOP))


def read_token_id(record: dict[str, Any]) -> int:
    return read_whole(record, "token_id", NO_ID, limits.MAX_VOCABULARY - 1)


def _id_of(value: Any) -> int:
    return read_whole({"": value}, "", NO_ID, limits.MAX_VOCABULARY - 1)


def _remark(value: Any) -> str:
    return read_text({"remark": value}, "remark", limits.MAX_NOTE_CHARACTERS)


def read_bytes(record: dict[str, Any]) -> bytes | None:
    if record.get("bytes") is None:
        return None
    digits = read_text(record, "bytes", 8 * limits.MAX_TOKEN_CHARACTERS)
    data = None
    with suppress(ValueError):
        data = bytes.fromhex(digits)
    if data is None or len(data) * 2 != len(digits):  # fromhex would accept spaces between the digits
        raise FieldError(Message("read.field.bytes"), "bytes")
    return data


def _no_number(written: str) -> NoReturn:
    raise ValueError(written)
