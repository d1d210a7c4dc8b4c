"""Requests of one address that are worked on at once: the others of that address wait, and nobody else for them.

Owns the turns. What is worked out for an answer takes some milliseconds of the server's one event loop and one of the
threads that all share; a hundred requests at once would be a second of everybody's time. A stream's turn ends with its
first byte. Exports, tools and an operator's own look have no turn: they wait elsewhere. Knows no request's meaning.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.types import Message, Send

AT_ONCE = 8
"""Requests of an address that are worked on at once, until their answers begin."""
FILES_AT_ONCE = 32
"""Files on their way to one address at once: each piece of one is compressed for it."""
OF_A_PROXY = 8
"""So many times as much for an address behind which is everybody."""

WITHOUT = ("/keep/", "/healthz", "/readyz", "/metrics", "/mcp")
FILE = "/file="


class Turns:
    """Of one page; all of it happens in its event loop."""

    def __init__(self) -> None:
        self._turns: dict[tuple[str | None, bool], tuple[asyncio.Semaphore, int]] = {}

    @asynccontextmanager
    async def turn(self, path: str, address: str | None, send: Send) -> AsyncIterator[Send]:
        """Wait for a turn; what is to be sent with, which ends it when the answer begins, or a file has been sent."""
        if any(part in path for part in WITHOUT):
            yield send
            return
        is_file = FILE in path
        key = (address, is_file)
        turns, users = self._turns.get(key) or (self._new(address, is_file), 0)
        self._turns[key] = turns, users + 1
        has_turn = False

        def end() -> None:
            nonlocal has_turn
            if has_turn:
                has_turn = False
                turns.release()

        async def sent(message: Message) -> None:
            if not is_file or not message.get("more_body", True):
                end()
            await send(message)

        try:
            await turns.acquire()
            has_turn = True
            yield sent
        finally:
            end()
            self._turns[key] = turns, self._turns[key][1] - 1
            if not self._turns[key][1]:
                del self._turns[key]

    @staticmethod
    def _new(address: str | None, is_file: bool) -> asyncio.Semaphore:
        most = FILES_AT_ONCE if is_file else AT_ONCE
        return asyncio.Semaphore(most * (OF_A_PROXY if address is None else 1))
