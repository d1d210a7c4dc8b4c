"""Liveness: who a visitor is, and whether the visitor still listens.

Owns what is read of Gradio's requests and queue for this. Knows no run. Gradio does not notice a visitor who joins its
queue and leaves before opening the stream of events, so such a run would go on to its end.
"""

from collections.abc import Callable
from time import monotonic
from typing import Any
from weakref import WeakKeyDictionary

import gradio as gr

from decoding.page.http.addresses import visitors_address
from decoding.serving.admission import Visitor

PATIENCE_SECONDS = 2.5
"""A browser may take this long to open its stream; after that it takes each message at once."""
POLL_SECONDS = 1.0
"""The usual time between two checks. More than twice as much counts as this much: the server was blocked, for instance
while a model was evicted, and nobody could open a stream.
"""
CROWDED_FACTOR = 4
"""The patience is multiplied by this while others keep arriving, because the server accepts all of them first."""

_last_arrival: WeakKeyDictionary[gr.Blocks, float] = WeakKeyDictionary()
"""When the last visitor of a page was admitted."""


def connection_check(page: gr.Blocks, session: str | None) -> Callable[[], bool]:
    """A function that checks whether a session's messages are read; to be called now and then, first at admission. A
    stream that was cut has no messages any more.
    """
    oldest: Any = None
    waited = looked = 0.0
    is_new = True
    _forget_ended(page)

    def is_connected() -> bool:
        nonlocal oldest, waited, looked, is_new
        now = monotonic()
        passed, looked = now - looked, now
        if passed > 2 * POLL_SECONDS:
            passed = POLL_SECONDS
        if is_new:
            is_new, _last_arrival[page] = False, now
        if session is None:
            return True
        messages = page._queue.pending_messages_per_session.get(session)
        if messages is None:
            return False
        first = next(iter(messages._queue), None)  # only looked at
        if first is None or first is not oldest:
            oldest, waited = first, 0.0
            return True
        waited += passed
        patience = PATIENCE_SECONDS * (CROWDED_FACTOR if now - _last_arrival[page] < PATIENCE_SECONDS else 1)
        return waited < patience

    return is_connected


def _forget_ended(page: gr.Blocks) -> None:
    """Drop the sets of events that Gradio keeps for every session there ever was, if nothing is in them or can come."""
    queue = page._queue
    messages = queue.pending_messages_per_session
    for session, events in [*queue.pending_event_ids_session.items()]:
        if session not in messages or not (events or messages[session].qsize()):
            del queue.pending_event_ids_session[session]


def visitor_of(request: gr.Request) -> Visitor:
    """The visitor of a request."""
    client = getattr(request, "client", None)
    return Visitor(request.session_hash, visitors_address(client.host) if client else None)
