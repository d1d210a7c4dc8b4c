"""Cancelled MCP calls: which call a client's `notifications/cancelled` ends.

Owns the names of clients, and the calls that run. The MCP server keeps no sessions, and the notification comes over
another connection than the call; so each client is given a name that no other knows, and says it with each request.
Knows no tool.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from anyio import CancelScope
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from decoding.page.http.request_body import replay

CLIENT = "mcp-session-id"
"""The header with a client's name."""
MAX_NOTICE_BYTES = 2**14
"""Larger requests are neither a client's first one nor a cancellation."""


class CancellableCalls:
    """ASGI middleware around an MCP server, behind `RequestFilter`, which has read the body and its JSON."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._running: dict[tuple[str, str], CancelScope] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "GET":  # a stream for what the server has to say unasked, to be held open by anybody
            sentence = "This server sends nothing that was not asked for: send a POST."
            await PlainTextResponse(sentence, 405, {"allow": "POST"})(scope, receive, send)
            return
        message = await receive()
        body = message.get("body", b"")
        asked = _parsed(body) if scope["method"] == "POST" else {}
        if asked.get("method") == "initialize":
            send = _naming(send)
        elif asked.get("method") == "notifications/cancelled":
            self._cancel(Headers(scope=scope).get(CLIENT, ""), asked.get("params"))
        await self._app(scope, replay(body, receive), send)

    @contextmanager
    def running(self, client: str, number: str) -> Iterator[CancelScope]:
        """A scope that is cancelled when the client of this name cancels its call of this number."""
        with CancelScope() as scope:
            self._running[client, number] = scope
            try:
                yield scope
            finally:
                if self._running.get((client, number)) is scope:
                    del self._running[client, number]

    def _cancel(self, client: str, params: Any) -> None:
        number = str(params.get("requestId")) if isinstance(params, dict) else ""
        if client and (scope := self._running.get((client, number))):
            scope.cancel()


def _parsed(body: bytes) -> dict[str, Any]:
    asked = json.loads(body) if 0 < len(body) <= MAX_NOTICE_BYTES else {}
    return asked if isinstance(asked, dict) else {}


def _naming(send: Send) -> Send:
    """A `send` whose response gives the client a name."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message)[CLIENT] = uuid4().hex
        await send(message)

    return sent
