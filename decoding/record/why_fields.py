"""Checks the lines of a lens and of a leave-one-out in a file: their fields, and that they belong to the run.

Owns what such a line may hold and the sentences that refuse one. As in `fields`, reading ends at the first fault, and
no number in a line decides how much memory is allocated. Knows no model.
"""

import math
from collections.abc import Sequence
from typing import Any

from decoding import limits
from decoding.messages import Message
from decoding.record.contradiction_error import ContradictionError
from decoding.record.field_values import (
    FieldError,
    check_names,
    read_at,
    read_list,
    read_number,
    read_object,
    read_whole,
)
from decoding.record.fields import read_candidate, read_token
from decoding.record.step import Candidate, Step
from decoding.record.why import UNITS, LeaveOneOut, LeftOut, Lens, LensLayer

_NATS = _PROBABILITY = 0.01
"""Log-probabilities and probabilities of one step may differ by this much: other machines sum in another order."""


def is_why(record: dict[str, Any]) -> bool:
    """Whether a line is about why a step picked its token."""
    return "lens" in record or "leave_one_out" in record


def read_why(record: dict[str, Any]) -> Lens | LeaveOneOut:
    """The lens or the leave-one-out of a line. Raises FieldError for a value that is not allowed."""
    if "lens" in record:
        check_names(record, ("lens",))
        return read_at("lens", _lens, record["lens"])
    check_names(record, ("leave_one_out",))
    return read_at("leave_one_out", _leave_one_out, record["leave_one_out"])


def check_why(found: Lens | LeaveOneOut, steps: Sequence[Step], prompt_tokens: int) -> None:
    """Raises ContradictionError for a lens or a leave-one-out that does not belong to the run of these steps."""
    if found.step >= len(steps):
        raise ContradictionError(Message("read.wrong.why.step", step=found.step))
    if isinstance(found, Lens):
        _check_lens(found, steps[found.step])
    else:
        _check_leave_one_out(found, steps[found.step], prompt_tokens + found.step)


def _check_leave_one_out(answer: LeaveOneOut, step: Step, length: int) -> None:
    """`length` is the number of tokens before the step."""
    if answer.picked != step.picked:
        raise ContradictionError(Message("read.wrong.why.pick"))
    if answer.against and (answer.against not in step.candidates or answer.against == step.picked):
        raise ContradictionError(Message("read.wrong.why.against"))
    end = 0
    for part in answer.parts:
        if part.first < end or part.first + part.count > length:
            raise ContradictionError(Message("read.wrong.why.parts"))
        if (part.against_logprob is None) != (answer.against is None):
            raise ContradictionError(Message("read.wrong.why.versus"))
        if not _fits(answer.picked.token_id, part.logprob, part.rank, part.instead):
            raise ContradictionError(Message("read.wrong.why.instead"))
        end = part.first + part.count


def _check_lens(lens: Lens, step: Step) -> None:
    if lens.tokens[0] != step.picked.token:
        raise ContradictionError(Message("read.wrong.why.pick"))
    for layer in lens.layers:
        for token, logprob, rank in zip(lens.tokens, layer.logprobs, layer.ranks, strict=True):
            if not _fits(token.token_id, logprob, rank, layer.leader):
                raise ContradictionError(Message("read.wrong.why.lens"))
    probabilities = {one.token_id: one.probability for one in (*step.candidates, step.picked)}
    for token, logprob in zip(lens.tokens, lens.layers[-1].logprobs, strict=True):
        if abs(math.exp(logprob) - probabilities.get(token.token_id, math.exp(logprob))) > _PROBABILITY:
            raise ContradictionError(Message("read.wrong.why.last"))


def _fits(token_id: int, logprob: float, rank: int, leader: Candidate) -> bool:
    """Whether a token's rank and log-probability fit the most probable token's; two may be equally probable."""
    is_equal = abs(logprob - leader.logprob) <= _NATS
    is_rank_right = is_equal if rank == 0 else token_id != leader.token_id
    return leader.rank == 0 and is_rank_right and logprob <= leader.logprob + _NATS


def _lens(value: Any) -> Lens:
    record = read_object(value)
    check_names(record, ("step", "tokens", "layers"))
    tokens = read_list(record, "tokens", limits.MAX_LENS_TOKENS, read_token)

    def read_layer(layer: Any) -> LensLayer:
        found = _layer(layer)
        if not len(found.logprobs) == len(found.ranks) == len(tokens):
            raise FieldError(Message("read.field.why"))
        return found

    layers = read_list(record, "layers", limits.MAX_LAYERS + 1, read_layer)
    for name, entries in (("tokens", tokens), ("layers", layers)):
        if not entries:
            raise FieldError(Message("read.field.empty"), name)
    return Lens(_step(record), tokens, layers)


def _layer(value: Any) -> LensLayer:
    record = read_object(value)
    check_names(record, ("leader", "logprobs", "ranks"))
    return LensLayer(
        read_at("leader", read_candidate, record["leader"]),
        read_list(record, "logprobs", limits.MAX_LENS_TOKENS, _logprob),
        read_list(record, "ranks", limits.MAX_LENS_TOKENS, _rank),
    )


def _leave_one_out(value: Any) -> LeaveOneOut:
    record = read_object(value)
    check_names(record, ("step", "by", "picked", "parts"), ("against",))
    if record["by"] not in UNITS:
        raise FieldError(Message("read.field.choice", names=", ".join(UNITS)), "by")
    against = record.get("against")
    return LeaveOneOut(
        step=_step(record),
        by=record["by"],
        picked=read_at("picked", read_candidate, record["picked"]),
        parts=read_list(record, "parts", limits.MAX_LEFT_OUT, _part),
        against=None if against is None else read_at("against", read_candidate, against),
    )


def _part(value: Any) -> LeftOut:
    record = read_object(value)
    check_names(record, ("first", "count", "logprob", "rank", "instead"), ("against_logprob",))
    longest = limits.MAX_PROMPT_TOKENS + limits.MAX_TEXT_TOKENS
    return LeftOut(
        first=read_whole(record, "first", 0, longest),
        count=read_whole(record, "count", 1, longest),
        logprob=read_at("logprob", _logprob, record["logprob"]),
        rank=read_at("rank", _rank, record["rank"]),
        instead=read_at("instead", read_candidate, record["instead"]),
        against_logprob=read_at("against_logprob", _logprob, record["against_logprob"])
        if "against_logprob" in record
        else None,
    )


def _step(record: dict[str, Any]) -> int:
    return read_whole(record, "step", 0, limits.MAX_TEXT_TOKENS - 1)


def _logprob(value: Any) -> float:
    return -math.inf if value is None else read_number({"": value}, "", -1e9, 0)


def _rank(value: Any) -> int:
    return read_whole({"": value}, "", 0, limits.MAX_VOCABULARY - 1)
