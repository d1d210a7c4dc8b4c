"""The page's two large scripts, the panel's own and plotly.js: `/scripts/` and what is below it.

Owns their addresses, each with a sum of its script, so that a browser keeps it for ever; their compressed bytes, made
once; and that the page itself is sent compressed. Gradio would compress plotly.js anew for each visitor (0.2 s of a
core over plain http), and send the panel's script with every page. Knows not what they say.
"""

import asyncio
import gzip
from collections.abc import AsyncIterator
from hashlib import sha256
from threading import Lock

from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

BASE = "scripts/"
FOR_EVER = "public, max-age=31536000, immutable"
"""For what has a sum in its address."""
_PIECE = 64 * 1024
"""Of what is sent, in bytes: a reader who is slow or does not read holds one."""


def compression() -> Middleware:
    """Compress what says nothing of its encoding, and no stream of events. Gradio compresses its files alone: a visit
    that has them took 898 kB, and takes 50.
    """
    return Middleware(GZipMiddleware, compresslevel=5)


class PageScript:
    """A script and its address, relative to the page's."""

    def __init__(self, name: str, code: bytes) -> None:
        self.address = f"{BASE}{name}-{sha256(code).hexdigest()[:16]}.js"
        self._code, self._compressed, self._lock = code, b"", Lock()

    def route(self) -> Route:
        """The route to serve beside Gradio's."""
        return Route(f"/{self.address}", self._send)

    def _send(self, request: Request) -> Response:
        is_zipped = "gzip" in request.headers.get("accept-encoding", "")
        content = self._zipped() if is_zipped else self._code
        headers = {
            "cache-control": FOR_EVER,
            "content-encoding": "gzip" if is_zipped else "identity",
            "content-length": str(len(content)),
            "vary": "accept-encoding",
            "x-content-type-options": "nosniff",
        }
        return StreamingResponse(_pieces(content), headers=headers, media_type="text/javascript")

    def _zipped(self) -> bytes:
        with self._lock:  # a class opens the page at once
            self._compressed = self._compressed or gzip.compress(self._code, 6)
            return self._compressed


async def _pieces(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), _PIECE):
        yield content[start : start + _PIECE]
        await asyncio.sleep(0)  # the event loop sees to others, and notices a connection that was closed
