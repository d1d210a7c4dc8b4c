"""Liveness: who a visitor is, and whether the visitor still listens.

Owns what is read of Gradio's requests and queue for this. Knows no run. Gradio does not notice a visitor who joins its
queue and leaves before opening the stream of events, so such a run would go on to its end.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from urllib.parse import parse_qs
from weakref import WeakKeyDictionary

import gradio as gr
from starlette.types import Message, Send

from decoding.page.http.addresses import address_of
from decoding.serving.admission import Visitor

ROUND_SECONDS = 0.1
"""The shortest round of the event loop that is counted."""
PATIENCE_ROUNDS = 40
"""A browser may take this many rounds, 4 s or more, to ask for its stream. After that it takes each message at once."""


_unanswered: Counter[str] = Counter()
"""The sessions and events with a request that has not been answered yet. Gradio answers in worker threads, which a
crowd on a busy machine may keep waiting for seconds.
"""


class UnansweredRequest:
    """A request from its arrival until its response begins. Until then its visitor is there: without the response to
    the request that adds an event, no stream can be asked for.
    """

    def __init__(self) -> None:
        self._names: list[str] = []
        self._is_answered = False

    def count(self, name: str) -> None:
        """Count the visitor with this session or event as there. "" is nobody."""
        if name and not self._is_answered:
            self._names.append(name)
            _unanswered[name] += 1

    def answered(self) -> None:
        self._is_answered = True
        for name in self._names:
            _unanswered[name] -= 1
            if not _unanswered[name]:
                del _unanswered[name]
        self._names.clear()


_request: ContextVar[UnansweredRequest | None] = ContextVar("request", default=None)


@contextmanager
def unanswered(name: str, send: Send) -> Iterator[Send]:
    """Count the visitor with this session or event as there until the response begins, and with it whoever
    `waits_for_answer` names meanwhile. Yields the `send` to use.
    """
    request = UnansweredRequest()
    request.count(name)
    _request.set(request)

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            request.answered()
        await send(message)

    try:
        yield sent
    finally:
        request.answered()


def waits_for_answer(event: str) -> None:
    """Count the visitor with this event as there until the response to the current request begins."""
    if request := _request.get():
        request.count(event)


def stream_asked_for(asked: str, query: bytes) -> str:
    """The session or event whose stream is asked for with a GET of this path of Gradio's API; "" for other paths."""
    if asked == "queue/data":
        return parse_qs(query.decode("latin-1")).get("session_hash", [""])[0]
    return asked.split("/")[-1] if asked.startswith("call/") else ""


class RoundCounter:
    """Counts the rounds of the running event loop while a page has sessions.

    Patience is measured in rounds, because a request needs a few to arrive: where a crowd, a load or other work on the
    machine makes each take a second, it may still be on its way.
    """

    def __init__(self, page: gr.Blocks, patience_rounds: int = PATIENCE_ROUNDS) -> None:
        self.rounds, self.patience_rounds = 0, patience_rounds
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


def set_patience(page: gr.Blocks, rounds: int) -> None:
    """Give the visitors of a page this many rounds to ask for their streams; to be called before it has visitors."""
    _counters[page] = RoundCounter(page, rounds)


def counter_of(page: gr.Blocks) -> RoundCounter:
    """The counter of a page."""
    if page not in _counters:
        set_patience(page, PATIENCE_ROUNDS)
    return _counters[page]


def connection_check(page: gr.Blocks, session: str | None) -> Callable[[], bool]:
    """A function that checks whether a session's messages are read; to be called now and then, in the event loop. A
    stream that was cut has no messages any more.
    """
    oldest: Any = None
    since = 0
    counter = counter_of(page)
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
        events = page._queue.pending_event_ids_session.get(session, ())
        is_answered = session not in _unanswered and not any(one in _unanswered for one in events)
        if first is None or first is not oldest or not is_answered:
            oldest, since = first, counter.rounds
            return True
        return counter.rounds - since < counter.patience_rounds

    return is_connected


def listening_check(page: gr.Blocks, session: str | None) -> Callable[[], bool]:
    """A function that checks whether a session's messages are read: whether its first message of now has been taken.
    Gradio adds a message before it calls an event's function, so there is one unless a stream took it already.
    """

    queues: Any = page._queue.pending_messages_per_session

    def oldest() -> Any:
        messages = queues.get(session)
        return messages and next(iter(messages._queue), None)  # only looked at

    first = oldest()
    return lambda: first is None or oldest() is not first


def _forget_ended(page: gr.Blocks) -> None:
    """Drop the sets of events that Gradio keeps for every session there ever was, if nothing is in them or can come."""
    queue = page._queue
    messages = queue.pending_messages_per_session
    for session, events in [*queue.pending_event_ids_session.items()]:
        if session not in messages or not (events or messages[session].qsize()):
            del queue.pending_event_ids_session[session]


def listener_of(page: gr.Blocks, request: gr.Request) -> dict[str, Any]:
    """What `decoding.serving.stream.stream_updates` needs to know of the visitor of a request."""
    session = request.session_hash
    return {
        "visitor": visitor_of(request),
        "is_connected": connection_check(page, session),
        "is_listening": listening_check(page, session),
    }


def visitor_of(request: gr.Request) -> Visitor:
    """The visitor of a request."""
    return Visitor(request.session_hash, address_of(request))
