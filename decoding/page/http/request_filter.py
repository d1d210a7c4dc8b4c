"""The request filter: which paths and bodies are let through to Gradio. `allowed_events` says which events. Too many
visitors are refused by `decoding.serving.admission`, heads and bodies that are large or slow by
`decoding.page.gradio_compat.connection_limits`.

Owns what is refused before Gradio sees it: Gradio accepts uploads from anybody, and holds a developer's stream open for
anybody. Knows no model, and not what an event means.
"""

from typing import Any
from urllib.parse import parse_qsl

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from decoding.page.gradio_compat.liveness import stream_asked_for, unanswered
from decoding.page.http.addresses import visitors_address
from decoding.page.http.allowed_events import UNQUEUED_PATH, AllowedEvents, allowed_events
from decoding.page.http.concurrency import ConcurrencyLimits
from decoding.page.http.header_filter import path_of
from decoding.page.http.request_body import RefusedError, body_reservation, parse_json, read_body, replay

API = "/gradio_api/"
_FOR_EVENTS = ("call", "cancel", "heartbeat", "queue", "reset")
_FOR_STARTING = ("app_id", "config", "info", "login_check", "startup-events", "theme.css")
OPEN = frozenset((*_FOR_EVENTS, *_FOR_STARTING))
"""The first parts of paths below `API` that the page and `gradio_client` use. Closed are uploads, files,
proxies, recordings, functions of components, editors, profiles, histories, and whatever a later Gradio adds.
"""

MCP = ("mcp", "mcp/schema")
"""The paths of an MCP client. Its older transport, a stream held open for anybody, is closed."""

UNUSED = ("/openapi.json", "/docs", "/redoc", "/login", "/logout", "/pwa_icon")
"""Closed paths outside `API`: FastAPI's description of all routes, sign-in, and installable pages."""

OWN_LIMITS = ("/keep/", "/vote/")
"""Our own routes, which read their bodies within limits of their own."""

UNUSED_PARAMETERS = ("page", "deep_link")
"""Refused query parameters: there is one page, and no state is kept."""

MAX_ADDRESS_BYTES = 200
"""Gradio looks for any file that is named, and fails for a name that is invalid on the disk."""

MAX_EVENT_BYTES = 12 * 2**20
"""A body with a run of up to 8 MB as a string within JSON."""
MAX_BODY_BYTES = 2**20
"""Every other body."""
_WITH_RUNS = ("queue/join", "call/", "mcp")
"""The beginnings of the paths below `API` whose bodies may hold a run."""


def filter_options(page: Any) -> dict[str, Any]:
    """Keyword arguments for a page's FastAPI: this filter, and the response to invalid fields."""
    return {
        "middleware": [Middleware(RequestFilter, allowed_events(page))],
        "exception_handlers": {RequestValidationError: _unreadable},
    }


async def _unreadable(request: Request, error: Exception) -> Response:
    """FastAPI would repeat what was sent, and fail for a lone surrogate in it."""
    return PlainTextResponse("The request's fields are not what this address takes.", 422)


def _answer(refused: RefusedError, *, is_client: bool) -> Response:
    """A sentence; where it goes to gradio_client, in the one form that it shows: it reads a 422 as JSON, and fails over
    anything else.
    """
    if not (is_client and refused.status == 422):
        return PlainTextResponse(str(refused), refused.status)
    wrong = {"__type__": "validate", "is_valid": False, "parameter_name": "request", "message": str(refused)}
    return JSONResponse({"detail": [wrong]}, 422)


class RequestFilter:
    """ASGI middleware. Paths that begin with one of `OWN_LIMITS` pass; those that only contain one do not."""

    def __init__(self, app: ASGIApp, allowed: AllowedEvents) -> None:
        self._app, self._allowed, self._concurrency = app, allowed, ConcurrencyLimits()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        address = visitors_address((scope.get("client") or ("",))[0])
        async with body_reservation(address) as reservation:
            try:
                _, api, asked = scope["path"].partition(API)
                self._check_address(scope["path"])
                _check_query(scope["query_string"])
                name = stream_asked_for(asked, scope["query_string"]) if scope["method"] == "GET" else ""
                if scope["method"] not in ("GET", "HEAD", "OPTIONS") and not path_of(scope).startswith(OWN_LIMITS):
                    most = MAX_EVENT_BYTES if asked.startswith(_WITH_RUNS) else MAX_BODY_BYTES
                    body = await read_body(receive, most, reservation, too_large=_too_large(scope, most))
                    if api and scope["method"] != "DELETE":  # an MCP client's goodbye, which has no body
                        self._allowed.check_body(asked.rstrip("/"), parse_json(body))
                    receive = replay(body, receive)
            except RefusedError as refused:
                await _answer(refused, is_client=asked == "queue/join")(scope, receive, send)
                return
            with unanswered(name, send) as told:
                async with self._concurrency.slot(path_of(scope), address, told) as sent:
                    await self._forward(scope, receive, sent)

    async def _forward(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request to Gradio. For an unknown session, Gradio reports it in the first event of a stream and
        then fails; anybody could fill the log with that.
        """
        try:
            await self._app(scope, receive, send)
        except RuntimeError as error:
            if not isinstance(error.__cause__, HTTPException):
                raise
            await send({"type": "http.response.body"})

    def _check_address(self, path: str) -> None:
        _, api, asked = path.partition(API)
        is_short = len(path.encode("utf-8", "surrogatepass")) <= MAX_ADDRESS_BYTES
        if api:
            allowed = is_short and (asked.split("/")[0] in OPEN or asked == UNQUEUED_PATH or asked.rstrip("/") in MCP)
        else:
            allowed = is_short and not path.rstrip("/").endswith(UNUSED)
        if not allowed:
            raise RefusedError(404, "There is nothing at this address.")


def _too_large(scope: Scope, most: int) -> str:
    """What is said of a body of more than `most` bytes: its size, if its head gives that; "" otherwise."""
    size = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
    if not (size.isdigit() and len(size) < 20):
        return ""
    return f"The request has {int(size):,} bytes; no more than {most:,} are read here."


def _check_query(query: bytes) -> None:
    """Refuse query parameters of pages and deep links: Gradio fails for an unknown page, and searches the disk for a
    link.
    """
    if any(name in UNUSED_PARAMETERS for name, value in parse_qsl(query.decode("latin-1"), errors="replace") if value):
        raise RefusedError(404, "There is nothing at this address.")
