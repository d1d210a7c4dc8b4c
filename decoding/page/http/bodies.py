"""The body of a request: bounded in size, and JSON that every reader of it can read and say again.

Owns what is refused of a body before its meaning is looked at. Python's JSON takes NaN, Infinity and numbers that
overflow to it, and whoever repeats one in an answer, as FastAPI does, fails over it; Pydantic fails over deep nesting.
Knows no address and no event.
"""

import json
from math import isfinite
from typing import Any

from starlette.types import Message, Receive

MAX_DEPTH = 16
"""Lists and objects within one another. The page's own deepest, a branch's picks in an event, is 5."""


class RefusedError(Exception):
    """A request that goes no further: `status` is HTTP's, the message a sentence for whoever asked."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


async def read(receive: Receive, most: int) -> bytes:
    """The whole body. Raises RefusedError as soon as it has more than `most` bytes."""
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise RefusedError(400, "The request broke off.")
        part = message.get("body", b"")
        parts.append(part)
        size += len(part)
        more = message.get("more_body", False)
        if size > most:
            raise RefusedError(413, f"The request is larger than {most:,} bytes; no larger one is read here.")
    return b"".join(parts)


def again(body: bytes, receive: Receive) -> Receive:
    """A body that was read, to be read once more; then what else comes."""
    given = False

    async def read_again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return read_again


def parsed(body: bytes) -> Any:
    """What a JSON body says. Raises RefusedError for what is no JSON, no number, or nested deeper than `MAX_DEPTH`."""
    try:
        said = json.loads(body, parse_constant=_no_number, parse_float=_number)
    except (ValueError, RecursionError) as error:
        raise RefusedError(400, "The request is no JSON that can be read.") from error
    level, depth = [said], 0
    while level := [inner for value in level for inner in _inside(value)]:
        depth += 1
        if depth > MAX_DEPTH:
            raise RefusedError(400, f"The request's JSON is nested more than {MAX_DEPTH} deep.")
    return said


def _inside(value: Any) -> list[Any]:
    return [*value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []


def _number(written: str) -> float:
    number = float(written)
    return number if isfinite(number) else _no_number(written)


def _no_number(written: str) -> float:
    raise RefusedError(400, f"{written[:12]} is no number here: it has to be finite.")
