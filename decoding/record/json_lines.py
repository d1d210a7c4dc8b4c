"""A text as a run's fields: the first line, a line a step, the last line, each read and held against those before it.

Owns the order of the reading and the sentences that refuse, which name the line. It ends at the first fault, and costs
at most a constant times the text's size. Knows no `Trace`: that one is made of what is read here.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, TypeVar

from decoding import limits
from decoding.errors import FormatError
from decoding.record import reader
from decoding.record.consistency import Consistency, ContradictionError
from decoding.record.repetition import find_loops
from decoding.record.step import NO_ID, Step

Item = TypeVar("Item")

FORMAT: Literal["greedyscope"] = "greedyscope"
VERSION: Literal[1] = 1


def read(text: str) -> dict[str, Any]:
    """The fields of a Trace, its model's as a dict. Raises FormatError for a text that is no run, naming the line."""
    first, middle, last = _lines(text)
    header = _read(_header, first, 1, limits.MAX_RUN_BYTES)
    ids, names = header.pop("prompt_token_ids"), ("max_new_tokens", "top_k")
    asked = {name: header[name] for name in names}
    fits = _holding(partial(Consistency, header["prompt"], ids, header["prompt_tokens"], **asked), 1)
    steps: list[Step] = []
    for number, line in enumerate(middle, start=2):
        steps.append(_read(reader.step, line, number))
        _holding(partial(fits.add, steps[-1]), number)
    end = _read(reader.end_fields, last, len(middle) + 2)
    _holding(partial(fits.end, end["stop_reason"], end["message"]))
    loops, picked = end.pop("loops"), [step.picked.token_id for step in steps]
    # A reader who lost the run on its way wrote its last line, and may know of no loops.
    cut_off = end["stop_reason"] in ("stopped", "error") and not loops
    if not cut_off and loops != (() if NO_ID in picked else tuple(find_loops(picked))):
        raise FormatError(f"Line {len(middle) + 2} of the run cannot be right: its loops are not those of its steps.")
    return {**header, **end, "steps": tuple(steps)}


def _lines(text: str) -> tuple[str, list[str], str]:
    """The first line, those between, and the last. They are counted before they are made."""
    if len(text) > limits.MAX_RUN_BYTES:
        raise FormatError(f"The run is larger than {limits.MAX_RUN_BYTES // 2**20} MB, which is the limit.")
    count = text.count("\n") + (not text.endswith("\n") and text != "")
    if count < 2:
        raise FormatError(f"A run has a first and a last line at least; this text has {count}.")
    if (steps := count - 2) > limits.MAX_TEXT_TOKENS:
        raise FormatError(f"A run has at most {limits.MAX_TEXT_TOKENS:,} steps; this text has {steps:,}.")
    first, *middle, last = text.removesuffix("\n").split("\n")
    return first, middle, last


def _header(record: dict[str, Any]) -> dict[str, Any]:
    if record.get("format") == FORMAT and record.get("version", VERSION) != VERSION:
        raise FormatError(
            f"Line 1 of the run has another version of the format than {VERSION}, the one that is read here."
        )
    for name, value in (("format", FORMAT), ("version", VERSION)):
        if name in record and (record[name] != value or type(record[name]) is not type(value)):
            raise reader.FieldError(f"it has to be {value}", name)
    return reader.header_fields(record)


def _read(
    read: Callable[[dict[str, Any]], Item], line: str, number: int, most: int = limits.MAX_STEP_CHARACTERS
) -> Item:
    try:
        return read(reader.parse(line, most))
    except reader.FieldError as error:
        place = ".".join(map(str, error.place)) or "the line"
        raise FormatError(f"Line {number} of the run cannot be read: {place}: {error.said}.") from None


def _holding(check: Callable[[], Item], number: int | None = None) -> Item:
    """What a check of consistency gives; it may concern a line, or the run as a whole."""
    try:
        return check()
    except ContradictionError as error:
        if number is None:
            raise FormatError(f"The run cannot be right: {error}.") from None
        raise FormatError(f"Line {number} of the run cannot be right: {error}.") from None
