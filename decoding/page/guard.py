"""What may come in from the network at all: the addresses that the page uses, bodies of a bounded size, and events that
the page has.

Owns what is refused before Gradio sees it: Gradio takes uploads from anybody, holds a developer's stream open for
anybody, answers what it does not know with 500, and writes what it could not read, a visitor's text, into the log.
Knows no model, and nothing of what an event means.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

API = "/gradio_api/"
_FOR_EVENTS = ("call", "cancel", "heartbeat", "queue", "reset", "mcp")
_FOR_STARTING = ("app_id", "config", "info", "login_check", "openapi.json", "startup-events", "theme.css")
OPEN = frozenset((*_FOR_EVENTS, *_FOR_STARTING))
"""What the page and `gradio_client` ask for below `API`, by its first part. Closed are uploads, files but one, proxies,
recordings, components' functions, editors, profiles, histories, and what a later Gradio adds.
"""

DIRECT = "run/predict"
"""Where the browser sends the events that skip the queue."""

MAX_EVENT_BYTES = 12 * 2**20
"""The page's question whether `generate` agrees brings a run of up to 8 MB, as a string within JSON."""
MAX_BODY_BYTES = 2**20
"""Every other body: a prompt of 50,000 characters takes 600 kB at most."""
MAX_NAME_CHARACTERS = 128


class _RefusedError(Exception):
    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass(slots=True)
class Doors:
    """What there is to ask for: events by number and endpoints by name, each with how many values it takes; and the
    files that anybody may read.
    """

    events: Mapping[int, int] = field(default_factory=dict)
    endpoints: Mapping[str, int] = field(default_factory=dict)
    unqueued: frozenset[int] = frozenset()
    """The events that are answered at once, without the queue."""
    files: frozenset[str] = frozenset()


def doors_of(page: Any, files: frozenset[str]) -> Doors:
    """The doors of a finished page."""
    functions = {number: function for number, function in page.fns.items() if function.fn is not None}
    return Doors(
        events={number: len(function.inputs) for number, function in functions.items()},
        endpoints={
            str(function.api_name): len(function.inputs)
            for function in functions.values()
            if function.api_visibility == "public"
        },
        unqueued=frozenset(number for number, function in functions.items() if function.queue is False),
        files=files,
    )


def guarded(page: Any, files: frozenset[str]) -> list[Middleware]:
    """What to put before a finished page."""
    return [Middleware(Guard, doors_of(page, files))]


class Guard:
    """ASGI middleware. `/keep/` has a limit of its own, and passes."""

    def __init__(self, app: ASGIApp, doors: Doors) -> None:
        self._app, self._doors = app, doors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or "/keep/" in scope["path"]:
            await self._app(scope, receive, send)
            return
        try:
            _, api, asked = scope["path"].partition(API)
            if api:
                self._check_address(asked)
            if scope["method"] in ("GET", "HEAD", "OPTIONS"):
                await self._app(scope, receive, send)
                return
            body = await _read(receive, MAX_EVENT_BYTES if asked == "queue/join" else MAX_BODY_BYTES)
            if asked.startswith((DIRECT, "queue/", "call/")):
                self._check_event(asked.rstrip("/"), _parsed(body))
        except _RefusedError as refused:
            await PlainTextResponse(str(refused), refused.status)(scope, receive, send)
            return
        await self._app(scope, _again(body, receive), send)

    def _check_address(self, asked: str) -> None:
        name, is_file, path = asked.partition("file=")
        allowed = path in self._doors.files if is_file and not name else asked.split("/")[0] in OPEN
        allowed = allowed or asked == DIRECT
        if not allowed:
            raise _RefusedError(404, "There is nothing at this address.")

    def _check_event(self, asked: str, event: Any) -> None:
        if not isinstance(event, dict):
            raise _RefusedError(422, "An event has to be a JSON object.")
        if asked in (DIRECT, "queue/join"):
            number = event.get("fn_index")
            takes = self._doors.events.get(number) if type(number) is int else None
            if takes is not None and asked == DIRECT and number not in self._doors.unqueued:
                takes = None
        else:
            takes = self._doors.endpoints.get(asked.split("/")[-1])
        if takes is None:
            raise _RefusedError(404, "There is no such event here.")
        session = event.get("session_hash", "")
        if session is not None and not (isinstance(session, str) and len(session) <= MAX_NAME_CHARACTERS):
            raise _RefusedError(422, f"A session is named by at most {MAX_NAME_CHARACTERS} characters.")
        values = [*event.values()] if asked.startswith("call/v2/") else event.get("data")
        if not isinstance(values, list) or len(values) != takes:
            raise _RefusedError(422, f"This event takes {takes} values in a list.")
        if any(isinstance(value, list | dict) for value in values):
            raise _RefusedError(422, "An event's values are text and numbers, not lists or objects.")


async def _read(receive: Receive, most: int) -> bytes:
    """The whole body. Raises _RefusedError as soon as it is too large."""
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise _RefusedError(400, "The request broke off.")
        part = message.get("body", b"")
        parts.append(part)
        size += len(part)
        more = message.get("more_body", False)
        if size > most:
            raise _RefusedError(413, f"The request is larger than {most:,} bytes; no larger one is read here.")
    return b"".join(parts)


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _RefusedError(400, "The request is no JSON that can be read.") from error


def _again(body: bytes, receive: Receive) -> Receive:
    """A body that was read, to be read once more; then what else comes."""
    given = False

    async def read() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return read
