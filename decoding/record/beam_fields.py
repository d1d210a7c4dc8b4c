"""Checks the fields of the lines that hold a beam search's tree: their types, names and sizes.

Owns what such a line may hold; `field_values` has the checks of single values. Every function raises
FieldError for a value that is not allowed.
"""

import math
from dataclasses import dataclass
from typing import Any

from decoding import limits
from decoding.messages import Message
from decoding.record import field_values, fields
from decoding.record.beams import BeamNode

_MOST_NODES = 2 * limits.MAX_BEAMS
"""Beams of one step: as many as go on, and as many again that have just ended."""


@dataclass(frozen=True, slots=True)
class Beams:
    """A line: the number of a step, its beams, and on the last line the finished ones."""

    step: int
    beams: tuple[BeamNode, ...]
    finished: tuple[tuple[int, int], ...] = ()


def read_beams(record: dict[str, Any]) -> Beams:
    """The beams of a line."""
    field_values.check_names(record, ("beam_step", "beams"), ("finished",))
    finished = field_values.read_list(record, "finished", limits.MAX_BEAMS, _place) if "finished" in record else ()
    beams = field_values.read_list(record, "beams", _MOST_NODES, _node)
    if not beams:
        raise field_values.FieldError(Message("read.field.empty"), "beams")
    return Beams(field_values.read_whole(record, "beam_step", 0, limits.MAX_STEPS - 1), beams, finished)


def _node(value: Any) -> BeamNode:
    record = field_values.read_object(value)
    field_values.check_names(record, ("parent", "token_id", "text", "logprob", "rank", "total"), ("bytes", "ended"))
    return BeamNode(
        parent=field_values.read_whole(record, "parent", 0, _MOST_NODES - 1),
        token_id=fields.read_token_id(record),
        text=field_values.read_text(record, "text", limits.MAX_TOKEN_CHARACTERS),
        logprob=_nats(record, "logprob"),
        rank=field_values.read_whole(record, "rank", 0, limits.MAX_VOCABULARY - 1),
        total=_nats(record, "total"),
        bytes=fields.read_bytes(record),
        ended=field_values.read_boolean(record, "ended") if "ended" in record else False,
    )


def _nats(record: dict[str, Any], name: str) -> float:
    return -math.inf if record[name] is None else field_values.read_number(record, name, -1e9, 0)


def _place(value: Any) -> tuple[int, int]:
    if type(value) is not list or len(value) != 2:
        raise field_values.FieldError(Message("read.field.pair"))
    pair = {"step": value[0], "place": value[1]}
    return (
        field_values.read_whole(pair, "step", 0, limits.MAX_STEPS - 1),
        field_values.read_whole(pair, "place", 0, _MOST_NODES - 1),
    )
