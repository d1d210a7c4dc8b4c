"""Liveness: who a visitor is, and whether the visitor still listens.

Owns what is read of Gradio's requests and queue for this. Knows no run. Gradio does not notice a visitor who joins its
queue and leaves before opening the stream of events, so such a run would go on to its end.
"""

import asyncio
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import gradio as gr

from decoding.page.http.addresses import visitors_address
from decoding.serving.admission import Visitor

ROUND_SECONDS = 0.1
"""The shortest round of the event loop that is counted."""
PATIENCE_ROUNDS = 25
"""A browser may take this many rounds, 2.5 s or more, to open its stream; after that it takes each message at once."""


class RoundCounter:
    """Counts the rounds of the running event loop while a page has sessions.

    Patience is measured in rounds, because a stream needs a few to be opened: where a crowd, a load or other work on
    the machine makes each take a second, visitors who have asked for their stream are still waiting for it.
    """

    def __init__(self, page: gr.Blocks) -> None:
        self.rounds = 0
        self._sessions = page._queue.pending_messages_per_session
        self._is_counting = False

    def start(self) -> None:
        """Count from now on, if nobody does yet. Must be called in the event loop."""
        if not self._is_counting:
            self._is_counting = True
            self._count_next()

    def _count_next(self) -> None:
        asyncio.get_running_loop().call_later(ROUND_SECONDS, self._count)

    def _count(self) -> None:
        self.rounds += 1
        self._is_counting = bool(self._sessions)
        if self._is_counting:
            self._count_next()


_counters: WeakKeyDictionary[gr.Blocks, RoundCounter] = WeakKeyDictionary()


def connection_check(page: gr.Blocks, session: str | None) -> Callable[[], bool]:
    """A function that checks whether a session's messages are read; to be called now and then, in the event loop. A
    stream that was cut has no messages any more.
    """
    oldest: Any = None
    since = 0
    counter = _counters.setdefault(page, RoundCounter(page))
    _forget_ended(page)

    def is_connected() -> bool:
        nonlocal oldest, since
        if session is None:
            return True
        messages = page._queue.pending_messages_per_session.get(session)
        if messages is None:
            return False
        counter.start()
        first = next(iter(messages._queue), None)  # only looked at
        if first is None or first is not oldest:
            oldest, since = first, counter.rounds
            return True
        return counter.rounds - since < PATIENCE_ROUNDS

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
