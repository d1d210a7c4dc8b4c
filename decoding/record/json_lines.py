"""Reads JSON Lines as the fields of a run: a header, one line per step, what was asked beside them, an end.

Owns the order of reading and the sentences of FormatError, which name the line. Reading ends at the first fault, and
its cost is linear in the size of the text. Knows no `Trace`, which is made of these fields.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, TypeVar

from decoding import limits
from decoding.errors import FormatError
from decoding.messages import Message, message_of
from decoding.record import fields
from decoding.record.beam_fields import Beams, read_beams
from decoding.record.beams import BeamTree, check_tree
from decoding.record.consistency import Consistency
from decoding.record.contradiction_error import ContradictionError
from decoding.record.field_values import FieldError
from decoding.record.prompt_scores import PromptScore, check_prompt_scores, read_prompt_scores
from decoding.record.repetition import find_loops
from decoding.record.step import NO_ID, Step
from decoding.record.why import LeaveOneOut, Lens
from decoding.record.why_fields import check_why, is_why, read_why

Item = TypeVar("Item")

FORMAT: Literal["greedyscope"] = "greedyscope"
VERSION: Literal[1] = 1


def read_fields(text: str) -> dict[str, Any]:
    """The fields of a Trace, with the model's as a dict. Raises FormatError, naming the line, for a text that is not a
    run.
    """
    first, middle, last = _split_lines(text)
    header = _read(_header, first, 1, limits.MAX_RUN_BYTES)
    ids, names = header.pop("prompt_token_ids"), ("max_new_tokens", "top_k", "past_end", "sampling", "as_message")
    asked = {name: header[name] for name in names}
    fits = _checked_line(partial(Consistency, header["prompt"], ids, header["prompt_tokens"], **asked), 1)
    steps: list[Step] = []
    levels: list[Beams] = []
    prompt_scores: tuple[PromptScore, ...] = ()
    why: list[Lens | LeaveOneOut] = []
    for number, line in enumerate(middle, start=2):
        found = _read(_middle, line, number)
        _check_order(found, len(steps), len(why), number)
        if isinstance(found, Step):
            steps.append(found)
            _checked_line(partial(fits.add, found), number)
        elif isinstance(found, Beams):
            levels.append(found)
            _checked_line(partial(fits.add_beams, found.step, [beam.token for beam in found.beams]), number)
        elif isinstance(found, Lens | LeaveOneOut):
            why.append(found)
            _checked_line(partial(check_why, found, steps, len(ids)), number)
        else:
            _checked_line(partial(check_prompt_scores, found, header["prompt_tokens"]), number)
            prompt_scores = found
    if '"stop_reason"' not in last:
        raise FormatError(Message("read.cut"))
    end = _read(fields.read_end, last, len(middle) + 2)
    _checked_line(partial(fits.end, end["stop_reason"], end["message"]))
    tree = BeamTree(tuple(level.beams for level in levels), levels[-1].finished) if levels else None
    if tree:
        _checked_line(partial(check_tree, tree, steps, max_new_tokens=header["max_new_tokens"]))
    loops, picked = end.pop("loops"), [step.picked.token_id for step in steps]
    # If the connection was lost, the browser wrote the last line, and may have left out the loops.
    cut_off = end["stop_reason"] in ("stopped", "error") and not loops
    if not cut_off and loops != (() if NO_ID in picked else tuple(find_loops(picked))):
        raise FormatError(Message("read.loops", number=len(middle) + 2))
    return {**header, **end, "steps": tuple(steps), "beams": tree, "prompt_scores": prompt_scores, "why": tuple(why)}


def _middle(record: dict[str, Any]) -> Step | Beams | tuple[PromptScore, ...] | Lens | LeaveOneOut:
    """A line between the first and the last."""
    if "beam_step" in record:
        return read_beams(record)
    if is_why(record):
        return read_why(record)
    return read_prompt_scores(record) if "prompt_scores" in record else fields.read_step(record)


def _check_order(found: object, steps: int, why: int, number: int) -> None:
    """Raises FormatError for a line that has no place after so many steps and lines about them."""
    if isinstance(found, Step) and why:
        raise FormatError(Message("read.why.order", number=number))
    if isinstance(found, Step) and steps == limits.MAX_TEXT_TOKENS:
        raise FormatError(Message("read.steps.more", most=f"{limits.MAX_TEXT_TOKENS:,}"))
    if isinstance(found, Lens | LeaveOneOut) and why == limits.MAX_WHY_LINES:
        raise FormatError(Message("read.why.most", most=limits.MAX_WHY_LINES))


def _split_lines(text: str) -> tuple[str, list[str], str]:
    """The first line, the lines between, and the last line. Lines are counted before they are split. A byte order mark
    and empty lines at the end, which editors add, are no part of the run.
    """
    if len(text) > limits.MAX_RUN_BYTES:
        raise FormatError(Message("file.large", most=limits.MAX_RUN_BYTES // 2**20))
    text = text.removeprefix("\ufeff").rstrip("\r\n")
    count = text.count("\n") + (text != "")
    if count < 2:
        raise FormatError(Message("read.lines", count=count))
    if count > limits.MAX_RUN_LINES:
        raise FormatError(Message("read.steps", most=f"{limits.MAX_TEXT_TOKENS:,}", count=f"{count - 2:,}"))
    first, *middle, last = text.split("\n")
    return first, middle, last


def _header(record: dict[str, Any]) -> dict[str, Any]:
    if record.get("format") == FORMAT and record.get("version", VERSION) != VERSION:
        raise FormatError(Message("read.version", version=VERSION))
    for name, value in (("format", FORMAT), ("version", VERSION)):
        if name in record and (record[name] != value or type(record[name]) is not type(value)):
            raise FieldError(Message("read.field.fixed", value=value), name)
    return fields.read_header(record)


def _read(
    read: Callable[[dict[str, Any]], Item], line: str, number: int, most: int = limits.MAX_STEP_CHARACTERS
) -> Item:
    try:
        return read(fields.parse_line(line, most))
    except FieldError as error:
        if not error.place:
            raise FormatError(Message("read.line.whole", number=number, reason=error.reason)) from None
        place = ".".join(map(str, error.place))
        raise FormatError(Message("read.line", number=number, place=place, reason=error.reason)) from None


def _checked_line(check: Callable[[], Item], number: int | None = None) -> Item:
    """Run a check of consistency, of one line or (None) of the run as a whole. Raises FormatError."""
    try:
        return check()
    except ContradictionError as error:
        if number is None:
            raise FormatError(Message("read.wrong.run", complaint=message_of(error))) from None
        raise FormatError(Message("read.wrong", number=number, complaint=message_of(error))) from None
