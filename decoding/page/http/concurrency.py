"""Limits the concurrent requests of one address: the others of that address wait, and no other address does.

Owns those limits. A response takes some milliseconds of the single event loop and a thread of the shared pool, so a
hundred requests at once would delay everybody by a second. A stream counts until its first byte. Exports, votes, tools
and an operator's health checks have limits elsewhere. Knows no request's meaning.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.types import Message, Send

from decoding.limits import PROXY_FACTOR

MAX_REQUESTS = 8
"""The most requests of an address that are processed at once, until their responses begin."""
MAX_FILES = 32
"""The most files being sent to one address at once: plotly.js is large, and of a model there are many."""

UNLIMITED_PATHS = ("/keep/", "/vote/", "/healthz", "/readyz", "/metrics", "/gradio_api/mcp")
"""The beginnings of paths with limits of their own, or none."""
FILES = ("/scripts/", "/in-browser/")


class ConcurrencyLimits:
    """The limits of one page. All methods run in its event loop."""

    def __init__(self) -> None:
        self._semaphores: dict[tuple[str | None, bool], tuple[asyncio.Semaphore, int]] = {}

    @asynccontextmanager
    async def slot(self, path: str, address: str | None, send: Send) -> AsyncIterator[Send]:
        """Wait for a slot. Yields the `send` to use, which frees the slot when the response begins, or a file has been
        sent. `path` is that of the request, without the page's prefix.
        """
        if path.startswith(UNLIMITED_PATHS):
            yield send
            return
        is_file = path.startswith(FILES)
        key = (address, is_file)
        semaphore, users = self._semaphores.get(key) or (self._new(address, is_file), 0)
        self._semaphores[key] = semaphore, users + 1
        has_slot = False

        def release() -> None:
            nonlocal has_slot
            if has_slot:
                has_slot = False
                semaphore.release()

        async def sent(message: Message) -> None:
            if not is_file or not message.get("more_body", True):
                release()
            await send(message)

        try:
            await semaphore.acquire()
            has_slot = True
            yield sent
        finally:
            release()
            self._semaphores[key] = semaphore, self._semaphores[key][1] - 1
            if not self._semaphores[key][1]:
                del self._semaphores[key]

    @staticmethod
    def _new(address: str | None, is_file: bool) -> asyncio.Semaphore:
        most = MAX_FILES if is_file else MAX_REQUESTS
        return asyncio.Semaphore(most * (PROXY_FACTOR if address is None else 1))
