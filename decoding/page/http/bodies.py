"""The body of a request: bounded in size, alone and with all others, and JSON that every reader of it can read and say
again.

Owns what is refused of a body before its meaning is looked at, and how many bytes of strangers are held. Python's JSON
takes NaN, Infinity and numbers that overflow to it, and whoever repeats one in an answer, as FastAPI does, fails over
it; Pydantic fails over deep nesting. Knows no address of the page and no event.
"""

import json
import threading
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import isfinite
from typing import Any

from starlette.types import Message, Receive

MAX_DEPTH = 16
"""Lists and objects within one another. The page's own deepest, a branch's picks in an event, is 5."""


MAX_HELD_BYTES = 64 * 2**20
"""Of all bodies that are being read or worked on, and of files on their way out; half of them for one address."""
SMALL_BYTES = 2**16
"""So much of a body is read whatever else is held: there are no more small ones than connections."""
MAX_STRUCTURE_BYTES = 20_000
"""Of a body that is not small, so much may stand outside of strings: an event has few values, of which one is long. The
same bytes as empty lists would be twenty times as large in memory, and a second of the event loop.
"""


class RefusedError(Exception):
    """A request that goes no further: `status` is HTTP's, the message a sentence for whoever asked."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class Held:
    """How many bytes are held, and for whom; None is an address behind which is everybody. Any thread may ask."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._lock = threading.Lock()
        self._by_address: Counter[str | None] = Counter()

    @property
    def total(self) -> int:
        return self._by_address.total()

    def take(self, count: int, address: str | None) -> bool:
        """So many bytes more, to `give` back in the end; or none."""
        with self._lock:
            is_much = address is not None and self._by_address[address] + count > self.most // 2
            if is_much or self._by_address.total() + count > self.most:
                return False
            self._by_address[address] += count
            return True

    def give(self, count: int, address: str | None) -> None:
        with self._lock:
            self._by_address[address] -= count
            self._by_address += Counter()  # forget who has none any more


HELD = Held(MAX_HELD_BYTES)


@asynccontextmanager
async def held(address: str | None) -> AsyncIterator["Hold"]:
    """What is held for a request, until it is done with."""
    hold = Hold(address)
    try:
        yield hold
    finally:
        hold.release()


class Hold:
    """What is held for one request of an address."""

    def __init__(self, address: str | None) -> None:
        self._address, self._size = address, 0

    def add(self, count: int) -> None:
        """Raises RefusedError where so much more is too much."""
        if not HELD.take(count, self._address):
            raise RefusedError(
                503, "The server holds as many bytes as it may. Nothing of yours is lost: ask again soon."
            )
        self._size += count

    def handed_on(self) -> "Hold":
        """The same, to be released by somebody else."""
        other = Hold(self._address)
        other._size, self._size = self._size, 0
        return other

    def release(self) -> None:
        HELD.give(self._size, self._address)
        self._size = 0


async def read(receive: Receive, most: int, hold: Hold, *, too_large: str = "") -> bytes:
    """The whole body. Raises RefusedError as soon as it has more than `most` bytes, or the server holds too many."""
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
        hold.add(min(len(part), max(0, size - SMALL_BYTES)))
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
    """What a JSON body says. Raises RefusedError for what is no JSON, no number, nested deeper than `MAX_DEPTH`, or of
    more values than any event has.
    """
    if len(body) > SMALL_BYTES and _structure(body) > MAX_STRUCTURE_BYTES:
        raise RefusedError(413, f"The request has more than {MAX_STRUCTURE_BYTES:,} bytes beside its texts.")
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


def _structure(body: bytes) -> int:
    """Bytes outside of strings: what stands between two quotes that nothing escapes is none of them."""
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
