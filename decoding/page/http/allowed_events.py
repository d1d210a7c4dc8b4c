"""Allowed events: which events and endpoints Gradio may be asked for, and which bodies they may have.

Owns the shape of each event's input, taken from the finished page. Gradio answers an unknown event with 500 and logs
what it cannot parse, including a visitor's text. Knows no path but those of events, and not what an event means. A
refusal names what came.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from inspect import signature
from typing import Any

from gradio import EventData
from gradio.utils import get_function_params

from decoding.page.http.request_body import RefusedError
from decoding.requests.values import json_type_of, shown, shown_id

UNQUEUED_PATH = "run/predict"
"""The path of events that skip the queue."""

MAX_NAME_CHARACTERS = 128
STOP_FIELDS = {"cancel": ("session_hash", "fn_index", "event_id"), "reset": ("event_id",)}
"""The fields of a request that ends a run: `fn_index` is a whole number, the others are names."""


@dataclass(frozen=True, slots=True)
class EventSpec:
    """The input of an event or endpoint."""

    values: int
    names: tuple[str, ...] = ()
    """The names of an endpoint's values, in order; an event of the page has none that a caller knows."""
    required: frozenset[str] = frozenset()
    panel: bool = False
    """Whether it also sends the panel's message, which is an object."""
    lists: bool = False
    """Whether a value may be a list, or a list of lists, as a branch's picks are."""
    choices: Mapping[int, frozenset[str]] = field(default_factory=dict)
    """The allowed values of a dropdown, by position. Gradio would log any other value."""


@dataclass(slots=True)
class AllowedEvents:
    """The existing events by number and endpoints by name."""

    events: Mapping[int, EventSpec] = field(default_factory=dict)
    endpoints: Mapping[str, EventSpec] = field(default_factory=dict)
    unqueued: frozenset[int] = frozenset()
    """The events that skip the queue."""

    def check_body(self, asked: str, body: Any) -> None:
        """Check the body of a request for the path `asked` below Gradio's API. Raises RefusedError."""
        if asked.startswith((UNQUEUED_PATH, "queue/", "call/")):
            self._check_event(asked, body)
        elif asked in STOP_FIELDS:
            _check_stop(STOP_FIELDS[asked], body)

    def _check_event(self, asked: str, event: Any) -> None:
        if not isinstance(event, dict):
            raise RefusedError(422, f"An event has to be a JSON object, not {json_type_of(event)}.")
        if asked in (UNQUEUED_PATH, "queue/join"):
            number = event.get("fn_index")
            spec = self.events.get(number) if type(number) is int else None
            if spec is not None and asked == UNQUEUED_PATH and number not in self.unqueued:
                spec = None
        else:
            name = asked.split("/")[-1]
            spec = self.endpoints.get(name)
            if spec is None:
                raise RefusedError(404, f"There is no endpoint {shown(name)} here.")
        if spec is None:
            raise RefusedError(404, f"There is no such event here: its fn_index is {shown_id(number)}.")
        if asked.startswith("call/v2/"):
            check_names(event, spec.names, spec.required, whose="This endpoint")
            _check_values(event, spec)
            return
        _check_session(event.get("session_hash", ""))
        values = _checked_count(event.get("data"), spec)
        names = spec.names or [f"value {number}" for number in range(1, spec.values + 1)]
        _check_values(dict(zip(names, values, strict=True)), spec)
        if spec.panel and not isinstance(data := event.get("event_data"), dict):
            raise RefusedError(422, f"This event says what is asked as an object, not as {json_type_of(data)}.")
        for at, choices in spec.choices.items():
            if values[at] is not None and values[at] not in choices:
                raise RefusedError(422, f"The page's list has no choice {shown(values[at])}.")


def allowed_events(page: Any) -> AllowedEvents:
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
    )


def _event_spec(function: Any) -> EventSpec:
    parameters = get_function_params(function.fn)
    return EventSpec(
        values=len(function.inputs),
        names=tuple(name for name, *_ in parameters) if function.api_visibility == "public" else (),
        required=frozenset(name for name, has_default, *_ in parameters if not has_default),
        panel=any(one.annotation is EventData for one in signature(function.fn).parameters.values()),
        choices={
            at: frozenset(str(value) for _, value in component.choices)
            for at, component in enumerate(function.inputs)
            if getattr(component, "choices", None)
        },
        lists=any(value.api_info().get("type") == "array" for value in function.inputs),
    )


def _check_stop(names: tuple[str, ...], body: Any) -> None:
    given = {name: body.get(name) for name in names} if isinstance(body, dict) else {}
    fit = [type(value) is int if name == "fn_index" else _is_name(value) for name, value in given.items()]
    if not (fit and all(fit)):
        raise RefusedError(422, f"What ends a run is an object that says which: {', '.join(names)}.")


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MAX_NAME_CHARACTERS and value.isprintable()


def check_names(given: Collection[str], taken: Collection[str], required: Collection[str], *, whose: str) -> None:
    """Raises RefusedError, with the names that are `taken`, for a given one that is not, or a required one not given.
    `whose` begins the sentence.
    """
    unknown = [name for name in given if name not in taken]
    missing = [name for name in taken if name in required and name not in given]
    if unknown or missing:
        wrong = "does not take" if unknown else "needs"
        named = ", ".join(shown(name) for name in (unknown or missing)[:5])
        raise RefusedError(422, f"{whose} {wrong} {named}. It takes: {', '.join(taken)}.")


def _check_session(session: Any) -> None:
    if session is not None and not _is_name(session):
        came = f"{len(session):,}" if isinstance(session, str) else json_type_of(session)
        most = f"at most {MAX_NAME_CHARACTERS} characters that can be printed"
        raise RefusedError(422, f"A session is named by {most}, not by {came}.")


def _checked_count(values: Any, spec: EventSpec) -> list[Any]:
    """The values, which are as many as the event takes. Raises RefusedError."""
    takes = f"This event takes {spec.values} value{'' if spec.values == 1 else 's'} in a list"
    if not isinstance(values, list):
        raise RefusedError(422, f'{takes} as its "data", not {json_type_of(values)}.')
    if len(values) != spec.values:
        named = f": {', '.join(spec.names)}" if spec.names else ""
        raise RefusedError(422, f"{takes}, not {len(values)}{named}.")
    return values


def _check_values(values: Mapping[str, Any], spec: EventSpec) -> None:
    for name, value in values.items():
        if isinstance(value, list | dict) and not (spec.lists and _is_flat(value)):
            also = ", lists of them, and lists of such lists" if spec.lists else ""
            is_deep = spec.lists and isinstance(value, list)
            came = "a list that is nested deeper" if is_deep else json_type_of(value)
            raise RefusedError(422, f"An event's values are text and numbers{also}: {name} is {came}.")


def _is_flat(value: list[Any] | dict[str, Any]) -> bool:
    parts = [part for item in value for part in (item if isinstance(item, list) else [item])]
    return isinstance(value, list) and not any(isinstance(part, list | dict) for part in parts)
