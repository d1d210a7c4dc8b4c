"""Request bodies: their size, alone and in sum, and their JSON.

Owns what is refused of a body before its meaning is read, and how many bytes of requests the server holds. Python's
JSON parser accepts NaN, Infinity and numbers that overflow to it, and FastAPI fails when it repeats one in a response;
Pydantic fails for deep nesting. Knows no address of the page and no event.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import isfinite
from typing import Any

from starlette.types import Message, Receive

from decoding.page.http.address_budget import AddressBudget

MAX_DEPTH = 16
"""The deepest nesting of lists and objects. The page's own deepest, a branch's picks in an event, is 5."""


MAX_HELD_BYTES = 64 * 2**20
"""The most bytes of all bodies that are read or processed, and of responses being sent; half of it for one address."""
SMALL_BYTES = 2**16
"""This much of a body is always read: there are at most as many small bodies as connections."""
MAX_STRUCTURE_BYTES = 20_000
"""In a larger body, at most this much may be outside of strings: an event has few values, of which one is long. As
empty lists, the same bytes would take twenty times as much memory, and a second of the event loop.
"""


class RefusedError(Exception):
    """A refused request, with the HTTP `status` and a sentence for the sender."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


BODY_BYTES = AddressBudget(MAX_HELD_BYTES)


@asynccontextmanager
async def body_reservation(address: str | None) -> AsyncIterator["BodyReservation"]:
    """A reservation for a request, released at the end."""
    reservation = BodyReservation(address)
    try:
        yield reservation
    finally:
        reservation.release()


class BodyReservation:
    """The bytes held for one request of an address."""

    def __init__(self, address: str | None) -> None:
        self._address, self._size = address, 0

    def add(self, count: int) -> None:
        """Reserve `count` more bytes. Raises RefusedError if they are not available."""
        if not BODY_BYTES.reserve(self._address, count):
            raise RefusedError(
                503, "The server holds as many bytes as it may. Nothing of yours is lost: ask again soon."
            )
        self._size += count

    def transfer(self) -> "BodyReservation":
        """Move the reservation to a new one, which somebody else releases."""
        other = BodyReservation(self._address)
        other._size, self._size = self._size, 0
        return other

    def release(self) -> None:
        BODY_BYTES.release(self._address, self._size)
        self._size = 0


async def read_body(receive: Receive, most: int, reservation: BodyReservation, *, too_large: str = "") -> bytes:
    """Read the whole body. Raises RefusedError once it exceeds `most` bytes, or the server holds too many."""
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
            raise RefusedError(
                413, too_large or f"The request is larger than {most:,} bytes; no larger one is read here."
            )
        reservation.add(min(len(part), max(0, size - SMALL_BYTES)))
    return b"".join(parts)


def replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that first returns a body that was already read, then what comes after it."""
    replayed = False

    async def read_again() -> Message:
        nonlocal replayed
        if replayed:
            return await receive()
        replayed = True
        return {"type": "http.request", "body": body, "more_body": False}

    return read_again


def parse_json(body: bytes) -> Any:
    """Parse a JSON body. Raises RefusedError for invalid JSON, infinite numbers, nesting deeper than `MAX_DEPTH`, or
    more values than any event has.
    """
    if len(body) > SMALL_BYTES and _structure(body) > MAX_STRUCTURE_BYTES:
        raise RefusedError(413, f"The request has more than {MAX_STRUCTURE_BYTES:,} bytes beside its texts.")
    try:
        value = json.loads(body, parse_constant=_no_number, parse_float=_number)
    except (ValueError, RecursionError) as error:
        raise RefusedError(400, "The request is no JSON that can be read.") from error
    level, depth = [value], 0
    while level := [inner for value in level for inner in _inside(value)]:
        depth += 1
        if depth > MAX_DEPTH:
            raise RefusedError(400, f"The request's JSON is nested more than {MAX_DEPTH} deep.")
    return value


def _structure(body: bytes) -> int:
    """The number of bytes outside of strings."""
    plain = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    if plain.count(b'"') > MAX_STRUCTURE_BYTES:
        return len(plain)
    return sum(map(len, plain.split(b'"')[::2]))


def _inside(value: Any) -> list[Any]:
    return [*value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []


def _number(written: str) -> float:
    number = float(written)
    return number if isfinite(number) else _no_number(written)


def _no_number(written: str) -> float:
    raise RefusedError(400, f"{written[:12]} is no number here: it has to be finite.")
