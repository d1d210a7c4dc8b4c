"""Connections to Gradio's server, limited in time and bytes before any request is read.

Owns how long a request's head and body may take, how long a response may stay unread, the size of a head, and the
number of connections. uvicorn, which Gradio starts without settings, limits only the pause
between two requests. Knows no path of the page, and nothing of what is sent. The work of a visitor who leaves is
ended through `decoding.cancellation`.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from httptools import HttpParserError, HttpParserUpgrade
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from decoding.page.http.address_budget import AddressBudget
from decoding.page.http.addresses import visitors_address

HEAD_SECONDS = 10.0
"""From the start of a connection, or the first byte of a further request, to the end of the head."""
BODY_SECONDS = 60.0
"""From the end of a head to the end of the body: 8 MB need 1.1 Mbit/s."""
UNREAD_SECONDS = 30.0
"""How long a response may wait for a reader that takes no data."""
MAX_HEAD_BYTES = 32 * 2**10
MAX_HEADERS = 100
MAX_CONNECTIONS = 1_000
"""In all; half of them for one address. A browser opens up to six."""
SPARE_FILES = 200
"""File descriptors for other uses."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """How long a server waits for a peer."""

    head_seconds: float = HEAD_SECONDS
    body_seconds: float = BODY_SECONDS
    unread_seconds: float = UNREAD_SECONDS


class BoundedConnection(HttpToolsProtocol):
    """uvicorn's connection class, with its parser in C, and limits."""

    open_connections = AddressBudget(MAX_CONNECTIONS)
    limits = ConnectionLimits()

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._address: str | None = None
        self._is_in = False
        self._header_bytes = 0
        self._head_bytes: int | None = 0
        """Bytes of the head being received; None outside of a head."""
        self._timer: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None

    # ---- from the beginning to the end

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._address = visitors_address(self.client[0]) if self.client else None
        self._is_in = self.open_connections.reserve(self._address)
        if not self._is_in:
            self.transport.abort()
            return
        self._start_timer(self.limits.head_seconds, self._time_out)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._is_in:
            self._is_in = False
            self.open_connections.release(self._address)
        self._stop_timer()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing() or self.parser is None:
            return
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except HttpParserUpgrade:
            pass  # no upgrade is supported: the request is answered as any other
        except HttpParserError:
            self._refuse(400, "Invalid HTTP request received.")
            return
        if self._head_bytes is not None:
            self._head_bytes += len(data)  # a header that does not end causes no other callback
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(431, "The request's head is too large.")

    def _should_upgrade(self) -> bool:
        return False

    # ---- a request

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_bytes = self._header_bytes = 0
        self._start_timer(self.limits.head_seconds, self._time_out)

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._header_bytes += len(name) + len(value)
        if len(self.headers) > MAX_HEADERS or self._header_bytes > MAX_HEAD_BYTES:
            raise ValueError  # the parser reports it as a fault of the request

    def on_headers_complete(self) -> None:
        self._head_bytes = None
        super().on_headers_complete()
        self._start_timer(self.limits.body_seconds, self._time_out)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._stop_timer()

    # ---- what takes too long

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = self._unread or self.loop.call_later(self.limits.unread_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread:
            self._unread.cancel()
            self._unread = None

    def _start_timer(self, seconds: float, otherwise: Callable[[], None]) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(seconds, otherwise)

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _time_out(self) -> None:
        is_body = self._head_bytes is None
        if is_body and self.cycle is not None and self.cycle.response_started:
            self.transport.abort()  # it was answered before its body was complete
        else:
            self._refuse(408, "The request took too long to arrive.")

    def _refuse(self, status: int, sentence: str) -> None:
        """Respond here, whatever the request was, and close the connection."""
        self._stop_timer()
        if self.transport.is_closing():
            return
        head = b"content-type: text/plain; charset=utf-8\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
        self.transport.write(STATUS_LINE[status] + head % len(sentence) + sentence.encode("ascii"))
        self.transport.close()
        # Do not wait for data that the other side never takes.
        self.loop.call_later(self.limits.unread_seconds, self.transport.abort)


def connections_that_fit() -> int:
    """The number of connections for which this process has file descriptors, after raising its limit."""
    wanted = soft = MAX_CONNECTIONS + SPARE_FILES
    with suppress(ImportError):  # Windows has no such limit
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        if soft < most:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft := most, hard))
    return max(10, min(MAX_CONNECTIONS, soft - SPARE_FILES))
