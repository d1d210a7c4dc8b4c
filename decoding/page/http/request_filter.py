"""What may come in from the network at all: the addresses that the page uses, bodies of a bounded size, and events that
the page has.

Owns what is refused before Gradio sees it: Gradio takes uploads from anybody, holds a developer's stream open for
anybody, answers what it does not know with 500, and writes what it could not read, a visitor's text, into the log.
Knows no model, and nothing of what an event means.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from inspect import signature
from typing import Any
from urllib.parse import parse_qsl

from fastapi.exceptions import RequestValidationError
from gradio import EventData
from gradio.utils import get_function_params
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from decoding.page.http.addresses import visitors_address
from decoding.page.http.bodies import RefusedError, again, held, parsed, read
from decoding.page.http.turns import Turns

API = "/gradio_api/"
_FOR_EVENTS = ("call", "cancel", "heartbeat", "queue", "reset")
_FOR_STARTING = ("app_id", "config", "info", "login_check", "startup-events", "theme.css")
OPEN = frozenset((*_FOR_EVENTS, *_FOR_STARTING))
"""What the page and `gradio_client` ask for below `API`, by its first part. Closed are uploads, files but one, proxies,
recordings, components' functions, editors, profiles, histories, and what a later Gradio adds.
"""

MCP = ("mcp", "mcp/schema")
"""An MCP client's address, where there is such a server; its older way, a stream held open for anybody, is closed."""

DIRECT = "run/predict"
"""Where the browser sends the events that skip the queue."""

UNUSED = ("/openapi.json", "/docs", "/redoc", "/login", "/logout", "/pwa_icon")
"""What is closed elsewhere: FastAPI's description of every route there is ("Use via API" and clients ask for `info`),
and what belongs to sign-in and to pages that are installed.
"""

UNUSED_PARAMETERS = ("page", "deep_link")
"""Of an address's query: there is one page, and nobody's state is kept."""

FILE = "file="
"""Before a file's path, below `API`. Gradio takes another server's address there as well, and fetches what it has."""

MAX_ADDRESS_BYTES = 200
"""Gradio looks for whatever file is named, and fails over a name that no disk can have."""

MAX_EVENT_BYTES = 12 * 2**20
"""The page's question whether `generate` agrees brings a run of up to 8 MB, as a string within JSON."""
MAX_BODY_BYTES = 2**20
"""Every other body: a prompt of 50,000 characters takes 600 kB at most."""
MAX_NAME_CHARACTERS = 128
STOPPING = {"cancel": ("session_hash", "fn_index", "event_id"), "reset": ("event_id",)}
"""What is said to end a run, `fn_index` as a whole number, the others as names."""


@dataclass(frozen=True, slots=True)
class Door:
    """What an event or endpoint takes."""

    values: int
    names: frozenset[str] = frozenset()
    required: frozenset[str] = frozenset()
    panel: bool = False
    """Whether it brings the panel's words with it, which are an object."""
    lists: bool = False
    """Whether a value may be a list, or a list of lists: the picks of a branch."""
    choices: Mapping[int, frozenset[str]] = field(default_factory=dict)
    """By its place, a value that is chosen from a list. Gradio writes what is on none into the log."""


@dataclass(slots=True)
class Doors:
    """What there is to ask for: events by number and endpoints by name; and the files that anybody may read."""

    events: Mapping[int, Door] = field(default_factory=dict)
    endpoints: Mapping[str, Door] = field(default_factory=dict)
    unqueued: frozenset[int] = frozenset()
    """The events that are answered at once, without the queue."""
    files: frozenset[str] = frozenset()


def doors_of(page: Any, files: frozenset[str]) -> Doors:
    """The doors of a finished page."""
    functions = {number: function for number, function in page.fns.items() if function.fn is not None}
    doors = {number: _door(function) for number, function in functions.items()}
    return Doors(
        events=doors,
        endpoints={
            str(function.api_name): doors[number]
            for number, function in functions.items()
            if function.api_visibility == "public"
        },
        unqueued=frozenset(number for number, function in functions.items() if function.queue is False),
        files=files,
    )


def _door(function: Any) -> Door:
    parameters = get_function_params(function.fn)
    return Door(
        values=len(function.inputs),
        names=frozenset(name for name, *_ in parameters),
        required=frozenset(name for name, has_default, *_ in parameters if not has_default),
        panel=any(one.annotation is EventData for one in signature(function.fn).parameters.values()),
        choices={
            at: frozenset(str(value) for _, value in component.choices)
            for at, component in enumerate(function.inputs)
            if getattr(component, "choices", None)
        },
        lists=any(value.api_info().get("type") == "array" for value in function.inputs),
    )


def guarded(page: Any, files: frozenset[str]) -> dict[str, Any]:
    """What a finished page's FastAPI takes, as keywords: the guard before it, and the answer to what it cannot read."""
    return {
        "middleware": [Middleware(Guard, doors_of(page, files))],
        "exception_handlers": {RequestValidationError: _unreadable},
    }


async def _unreadable(request: Request, error: Exception) -> Response:
    """FastAPI would repeat what was sent, and fail over half a pair of characters in it."""
    return PlainTextResponse("The request's fields are not what this address takes.", 422)


class Guard:
    """ASGI middleware. `/keep/` has a limit of its own, and passes; an address of Gradio's that only has it in it does
    not.
    """

    def __init__(self, app: ASGIApp, doors: Doors) -> None:
        self._app, self._doors, self._turns = app, doors, Turns()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        address = visitors_address((scope.get("client") or ("",))[0])
        async with held(address) as hold:
            try:
                _, api, asked = scope["path"].partition(API)
                self._check_address(scope["path"])
                _check_query(scope["query_string"])
                if scope["method"] not in ("GET", "HEAD", "OPTIONS") and (api or "/keep/" not in scope["path"]):
                    body = await read(receive, MAX_EVENT_BYTES if asked == "queue/join" else MAX_BODY_BYTES, hold)
                    if api and scope["method"] != "DELETE":  # which is how an MCP client leaves, and has no body
                        self._check_body(asked.rstrip("/"), parsed(body))
                    receive = again(body, receive)
            except RefusedError as refused:
                await PlainTextResponse(str(refused), refused.status)(scope, receive, send)
                return
            async with self._turns.turn(scope["path"], address, send) as sent:
                await self._pass_on(scope, receive, sent)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Have Gradio answer. Whoever asks for a session that is not there is told so by the first event of a stream,
        and the stream then fails: anybody could fill the log with that.
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
        if asked.startswith(FILE):
            allowed = asked.removeprefix(FILE) in self._doors.files
        elif api:
            allowed = is_short and (asked.split("/")[0] in OPEN or asked == DIRECT or asked.rstrip("/") in MCP)
        else:
            allowed = is_short and not path.rstrip("/").endswith(UNUSED)
        if not allowed:
            raise RefusedError(404, "There is nothing at this address.")

    def _check_body(self, asked: str, body: Any) -> None:
        if asked.startswith((DIRECT, "queue/", "call/")):
            self._check_event(asked, body)
        elif asked in STOPPING:
            _check_stopping(STOPPING[asked], body)

    def _check_event(self, asked: str, event: Any) -> None:
        if not isinstance(event, dict):
            raise RefusedError(422, "An event has to be a JSON object.")
        if asked in (DIRECT, "queue/join"):
            number = event.get("fn_index")
            door = self._doors.events.get(number) if type(number) is int else None
            if door is not None and asked == DIRECT and number not in self._doors.unqueued:
                door = None
        else:
            door = self._doors.endpoints.get(asked.split("/")[-1])
        if door is None:
            raise RefusedError(404, "There is no such event here.")
        if asked.startswith("call/v2/"):
            if not door.required <= event.keys() <= door.names:
                raise RefusedError(422, f"This endpoint takes these parameters: {', '.join(sorted(door.names))}.")
            _check_values([*event.values()], door)
            return
        session = event.get("session_hash", "")
        if session is not None and not _is_name(session):
            raise RefusedError(422, f"A session is named by at most {MAX_NAME_CHARACTERS} characters.")
        values = event.get("data")
        if not isinstance(values, list) or len(values) != door.values:
            raise RefusedError(422, f"This event takes {door.values} values in a list.")
        _check_values(values, door)
        if door.panel and not isinstance(event.get("event_data"), dict):
            raise RefusedError(422, "This event says what is asked as an object.")
        if any(values[at] is not None and values[at] not in names for at, names in door.choices.items()):
            raise RefusedError(422, "There is no such choice on the page's list.")


def _check_query(query: bytes) -> None:
    """Gradio fails over a page that it does not have, and looks on the disk for a link to a page's state."""
    if any(name in UNUSED_PARAMETERS for name, value in parse_qsl(query.decode("latin-1"), errors="replace") if value):
        raise RefusedError(404, "There is nothing at this address.")


def _check_stopping(names: tuple[str, ...], body: Any) -> None:
    given = {name: body.get(name) for name in names} if isinstance(body, dict) else {}
    fit = [type(value) is int if name == "fn_index" else _is_name(value) for name, value in given.items()]
    if not (fit and all(fit)):
        raise RefusedError(422, f"What ends a run is an object that says which: {', '.join(names)}.")


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MAX_NAME_CHARACTERS and value.isprintable()


def _check_values(values: list[Any], door: Door) -> None:
    if any(isinstance(value, list | dict) and not (door.lists and _is_flat(value)) for value in values):
        also = ", and lists of them, not" if door.lists else ", not lists or"
        raise RefusedError(422, f"An event's values are text and numbers{also} objects.")


def _is_flat(value: list[Any] | dict[str, Any]) -> bool:
    parts = [part for item in value for part in (item if isinstance(item, list) else [item])]
    return isinstance(value, list) and not any(isinstance(part, list | dict) for part in parts)
