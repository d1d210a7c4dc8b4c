"""Who asks, and whether anybody listens to them: whoever joins Gradio's queue and goes before opening its stream of
events is never missed by Gradio, and their run would go on to its end.

Owns what is read of Gradio's requests and queue, and nothing else.
"""

from collections.abc import Callable
from time import monotonic
from typing import Any
from weakref import WeakKeyDictionary

import gradio as gr

from decoding.page.http.addresses import visitors_address
from decoding.serving.admission import Visitor

PATIENCE_SECONDS = 2.5
"""A browser may take so long to open its stream, and then takes each message at once."""
POLL_SECONDS = 1.0
"""About so much lies between two looks while the server keeps its time. More than twice as much counts as so much: the
server stood still, as when a model is let go, and nobody could open a stream meanwhile.
"""
IN_A_CROWD = 4
"""So many times as long while others keep coming: the server hears nobody out before it has let them in."""

_came: WeakKeyDictionary[gr.Blocks, float] = WeakKeyDictionary()
"""When the last one got a place on a page."""


def connection_check(page: gr.Blocks, session: str | None) -> Callable[[], bool]:
    """Whether a session's messages are taken, to be asked now and then, first when it has a place. A stream that was
    cut has none any more.
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
            is_new, _came[page] = False, now
        if session is None:
            return True
        messages = page._queue.pending_messages_per_session.get(session)
        if messages is None:
            return False
        first = next(iter(messages._queue), None)  # left where it is
        if first is None or first is not oldest:
            oldest, waited = first, 0.0
            return True
        waited += passed
        patience = PATIENCE_SECONDS * (IN_A_CROWD if now - _came[page] < PATIENCE_SECONDS else 1)
        return waited < patience

    return is_connected


def _forget_ended(page: gr.Blocks) -> None:
    """Gradio keeps a set of events for each session there ever was. Drop those that nothing is in, or to come of."""
    queue = page._queue
    messages = queue.pending_messages_per_session
    for session, events in [*queue.pending_event_ids_session.items()]:
        if session not in messages or not (events or messages[session].qsize()):
            del queue.pending_event_ids_session[session]


def visitor_of(request: gr.Request) -> Visitor:
    """Who asks."""
    client = getattr(request, "client", None)
    return Visitor(request.session_hash, visitors_address(client.host) if client else None)
