"""The request filter: which paths, bodies and events are let through to Gradio.

Owns what is refused before Gradio sees it: Gradio accepts uploads from anybody, holds a developer's stream open for
anybody, answers unknown requests with 500, and logs what it cannot parse, including a visitor's text. Knows no model,
and not what an event means.
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

from decoding.page.gradio_compat.liveness import stream_asked_for, unanswered
from decoding.page.http.addresses import visitors_address
from decoding.page.http.concurrency import ConcurrencyLimits
from decoding.page.http.request_body import RefusedError, body_reservation, parse_json, read_body, replay

API = "/gradio_api/"
_FOR_EVENTS = ("call", "cancel", "heartbeat", "queue", "reset")
_FOR_STARTING = ("app_id", "config", "info", "login_check", "startup-events", "theme.css")
OPEN = frozenset((*_FOR_EVENTS, *_FOR_STARTING))
"""The first parts of paths below `API` that the page and `gradio_client` use. Closed are uploads, files but one,
proxies, recordings, functions of components, editors, profiles, histories, and whatever a later Gradio adds.
"""

MCP = ("mcp", "mcp/schema")
"""The paths of an MCP client. Its older transport, a stream held open for anybody, is closed."""

UNQUEUED_PATH = "run/predict"
"""The path of events that skip the queue."""

UNUSED = ("/openapi.json", "/docs", "/redoc", "/login", "/logout", "/pwa_icon")
"""Closed paths outside `API`: FastAPI's description of all routes, sign-in, and installable pages."""

OWN_LIMITS = ("/keep/", "/vote/")
"""Our own routes, which read their bodies within limits of their own."""

UNUSED_PARAMETERS = ("page", "deep_link")
"""Refused query parameters: there is one page, and no state is kept."""

FILE = "file="
"""The prefix of a file's path below `API`. Gradio also accepts another server's URL there, and fetches it."""

MAX_ADDRESS_BYTES = 200
"""Gradio looks for any file that is named, and fails for a name that is invalid on the disk."""

MAX_EVENT_BYTES = 12 * 2**20
"""The action `agree` sends a run of up to 8 MB as a string within JSON."""
MAX_BODY_BYTES = 2**20
"""Every other body; a prompt of 50,000 characters takes at most 600 kB."""
MAX_NAME_CHARACTERS = 128
STOP_FIELDS = {"cancel": ("session_hash", "fn_index", "event_id"), "reset": ("event_id",)}
"""The fields of a request that ends a run: `fn_index` is a whole number, the others are names."""


@dataclass(frozen=True, slots=True)
class EventSpec:
    """The input of an event or endpoint."""

    values: int
    names: frozenset[str] = frozenset()
    required: frozenset[str] = frozenset()
    panel: bool = False
    """Whether it also sends the panel's message, which is an object."""
    lists: bool = False
    """Whether a value may be a list, or a list of lists, as a branch's picks are."""
    choices: Mapping[int, frozenset[str]] = field(default_factory=dict)
    """The allowed values of a dropdown, by position. Gradio would log any other value."""


@dataclass(slots=True)
class AllowedEvents:
    """The existing events by number and endpoints by name, and the files that anybody may read."""

    events: Mapping[int, EventSpec] = field(default_factory=dict)
    endpoints: Mapping[str, EventSpec] = field(default_factory=dict)
    unqueued: frozenset[int] = frozenset()
    """The events that skip the queue."""
    files: frozenset[str] = frozenset()


def allowed_events(page: Any, files: frozenset[str]) -> AllowedEvents:
    """The allowed events of a finished page."""
    functions = {number: function for number, function in page.fns.items() if function.fn is not None}
    allowed = {number: _event_spec(function) for number, function in functions.items()}
    return AllowedEvents(
        events=allowed,
        endpoints={
            str(function.api_name): allowed[number]
            for number, function in functions.items()
            if function.api_visibility == "public"
        },
        unqueued=frozenset(number for number, function in functions.items() if function.queue is False),
        files=files,
    )


def _event_spec(function: Any) -> EventSpec:
    parameters = get_function_params(function.fn)
    return EventSpec(
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


def filter_options(page: Any, files: frozenset[str]) -> dict[str, Any]:
    """Keyword arguments for a page's FastAPI: this filter, and the response to invalid fields."""
    return {
        "middleware": [Middleware(RequestFilter, allowed_events(page, files))],
        "exception_handlers": {RequestValidationError: _unreadable},
    }


async def _unreadable(request: Request, error: Exception) -> Response:
    """FastAPI would repeat what was sent, and fail for a lone surrogate in it."""
    return PlainTextResponse("The request's fields are not what this address takes.", 422)


class RequestFilter:
    """ASGI middleware. `OWN_LIMITS` pass; a path of Gradio's that only contains one of them does not."""

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
                has_own_limits = not api and any(part in scope["path"] for part in OWN_LIMITS)
                if scope["method"] not in ("GET", "HEAD", "OPTIONS") and not has_own_limits:
                    body = await read_body(
                        receive, MAX_EVENT_BYTES if asked == "queue/join" else MAX_BODY_BYTES, reservation
                    )
                    if api and scope["method"] != "DELETE":  # an MCP client's goodbye, which has no body
                        self._check_body(asked.rstrip("/"), sent_body := parse_json(body))
                        if asked == "queue/join":
                            name = sent_body.get("session_hash") or ""
                    receive = replay(body, receive)
            except RefusedError as refused:
                await PlainTextResponse(str(refused), refused.status)(scope, receive, send)
                return
            with unanswered(name, send) as told:
                async with self._concurrency.slot(scope["path"], address, told) as sent:
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
        if asked.startswith(FILE):
            allowed = asked.removeprefix(FILE) in self._allowed.files
        elif api:
            allowed = is_short and (asked.split("/")[0] in OPEN or asked == UNQUEUED_PATH or asked.rstrip("/") in MCP)
        else:
            allowed = is_short and not path.rstrip("/").endswith(UNUSED)
        if not allowed:
            raise RefusedError(404, "There is nothing at this address.")

    def _check_body(self, asked: str, body: Any) -> None:
        if asked.startswith((UNQUEUED_PATH, "queue/", "call/")):
            self._check_event(asked, body)
        elif asked in STOP_FIELDS:
            _check_stop(STOP_FIELDS[asked], body)

    def _check_event(self, asked: str, event: Any) -> None:
        if not isinstance(event, dict):
            raise RefusedError(422, "An event has to be a JSON object.")
        if asked in (UNQUEUED_PATH, "queue/join"):
            number = event.get("fn_index")
            spec = self._allowed.events.get(number) if type(number) is int else None
            if spec is not None and asked == UNQUEUED_PATH and number not in self._allowed.unqueued:
                spec = None
        else:
            spec = self._allowed.endpoints.get(asked.split("/")[-1])
        if spec is None:
            raise RefusedError(404, "There is no such event here.")
        if asked.startswith("call/v2/"):
            if not spec.required <= event.keys() <= spec.names:
                raise RefusedError(422, f"This endpoint takes these parameters: {', '.join(sorted(spec.names))}.")
            _check_values([*event.values()], spec)
            return
        session = event.get("session_hash", "")
        if session is not None and not _is_name(session):
            raise RefusedError(422, f"A session is named by at most {MAX_NAME_CHARACTERS} characters.")
        values = event.get("data")
        if not isinstance(values, list) or len(values) != spec.values:
            raise RefusedError(422, f"This event takes {spec.values} values in a list.")
        _check_values(values, spec)
        if spec.panel and not isinstance(event.get("event_data"), dict):
            raise RefusedError(422, "This event says what is asked as an object.")
        if any(values[at] is not None and values[at] not in names for at, names in spec.choices.items()):
            raise RefusedError(422, "There is no such choice on the page's list.")


def _check_query(query: bytes) -> None:
    """Refuse query parameters of pages and deep links: Gradio fails for an unknown page, and searches the disk for a
    link.
    """
    if any(name in UNUSED_PARAMETERS for name, value in parse_qsl(query.decode("latin-1"), errors="replace") if value):
        raise RefusedError(404, "There is nothing at this address.")


def _check_stop(names: tuple[str, ...], body: Any) -> None:
    given = {name: body.get(name) for name in names} if isinstance(body, dict) else {}
    fit = [type(value) is int if name == "fn_index" else _is_name(value) for name, value in given.items()]
    if not (fit and all(fit)):
        raise RefusedError(422, f"What ends a run is an object that says which: {', '.join(names)}.")


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MAX_NAME_CHARACTERS and value.isprintable()


def _check_values(values: list[Any], spec: EventSpec) -> None:
    if any(isinstance(value, list | dict) and not (spec.lists and _is_flat(value)) for value in values):
        also = ", and lists of them, not" if spec.lists else ", not lists or"
        raise RefusedError(422, f"An event's values are text and numbers{also} objects.")


def _is_flat(value: list[Any] | dict[str, Any]) -> bool:
    parts = [part for item in value for part in (item if isinstance(item, list) else [item])]
    return isinstance(value, list) and not any(isinstance(part, list | dict) for part in parts)
