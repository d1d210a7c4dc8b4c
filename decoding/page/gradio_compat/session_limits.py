"""Sessions in Gradio's queue, limited so that no visitor's traffic costs another one a run.

Owns the limits of events per address, which session is dropped if there are too many, and how long and how much is kept
unread. Gradio drops the oldest session, even if a run is in it, and keeps unread messages for ever. Knows no run.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any

import gradio as gr
from gradio.state_holder import SessionState

from decoding.messages import Message
from decoding.page.gradio_compat.liveness import PATIENCE_ROUNDS, set_patience, waits_for_answer
from decoding.page.http.addresses import address_of
from decoding.page.http.request_body import BodyReservation, RefusedError

MAX_SESSIONS = 2_000
MAX_UNREAD_BYTES = 32 * 2**20
"""Of all unread messages together."""
UNREAD_SECONDS = 60.0
"""How long a message waits for its visitor."""
SWEEP_SECONDS = 5.0
MAX_EVENTS_PER_ADDRESS = 128
"""Of the 256 events that Gradio handles at once."""
FILES = "files"
"""The `concurrency_id` of endpoints that write or check files without the model."""
MAX_FILES_PER_ADDRESS = 8


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """The limits of one page's sessions. `patience_rounds` is how long a visitor may take to listen; see
    `decoding.page.gradio_compat.liveness`.
    """

    sessions: int = MAX_SESSIONS
    unread_bytes: int = MAX_UNREAD_BYTES
    unread_seconds: float = UNREAD_SECONDS
    sweep_seconds: float = SWEEP_SECONDS
    events_per_address: int = MAX_EVENTS_PER_ADDRESS
    patience_rounds: int = PATIENCE_ROUNDS


_asking: ContextVar[str | None] = ContextVar("asking", default=None)


class MessageQueue(asyncio.Queue[Any]):
    """The messages of one session, for Gradio's queue and streams."""

    def __init__(self, address: str | None) -> None:
        super().__init__()
        self.address = address
        self.unread = 0
        self.touched = monotonic()
        self._readers = 0
        self._sizes: list[int] = []

    def put_nowait(self, item: Any) -> None:
        super().put_nowait(item)
        self._sizes.append(size := size_of(getattr(item, "output", None)))
        self.unread += size
        self.touched = monotonic()

    async def get(self) -> Any:
        self._readers += 1
        try:
            item = await super().get()
        finally:
            self._readers -= 1
            self.touched = monotonic()
        self.unread -= self._sizes.pop(0)
        return item

    @property
    def is_read(self) -> bool:
        """Whether a stream waits for the next message."""
        return self._readers > 0


class SessionQueues(dict[str, MessageQueue]):
    """Replaces Gradio's `pending_messages_per_session`: message queues by session, oldest first."""

    def __init__(
        self, is_busy: Callable[[str], bool], forget: Callable[[str], None], limits: SessionLimits = SessionLimits()
    ) -> None:
        super().__init__()
        self.limits = limits
        self._is_busy, self._forget = is_busy, forget
        self._sweeps = False

    def __setitem__(self, session: str, messages: Any) -> None:
        """Add a session, with a queue of our own class."""
        while session not in self and len(self) >= self.limits.sessions and (other := self._session_to_evict()):
            self.drop(other)
        super().__setitem__(session, MessageQueue(_asking.get()))

    def __delitem__(self, session: str) -> None:
        self.pop(session, None)  # a stream that ends may find its session dropped

    def drop(self, session: str) -> None:
        self.pop(session, None)
        self._forget(session)

    def schedule_sweep(self) -> None:
        """Schedule sweeps in this event loop for as long as there are sessions."""
        if not self._sweeps:
            self._sweeps = True
            asyncio.get_running_loop().call_later(self.limits.sweep_seconds, self._sweep_again)

    def _sweep_again(self) -> None:
        self._sweeps = False
        self.sweep()
        if self:
            self.schedule_sweep()

    def sweep(self) -> None:
        """Drop sessions that nobody reads, and the largest ones while all together exceed the limit."""
        now = monotonic()
        for session, answers in [*self._idle()]:
            if now - answers.touched > self.limits.unread_seconds:
                self.drop(session)
        while sum(answers.unread for answers in self.values()) > self.limits.unread_bytes:
            largest = max(self._idle(), key=lambda one: one[1].unread, default=None)
            if largest is None or not largest[1].unread:
                break
            self.drop(largest[0])

    def _idle(self) -> Iterator[tuple[str, MessageQueue]]:
        """Sessions without a running event whose messages nobody reads now."""
        return (
            (session, answers) for session, answers in self.items() if not (answers.is_read or self._is_busy(session))
        )

    def _session_to_evict(self) -> str | None:
        """The oldest idle session of the address that has most sessions, so that floods cost their sender."""
        counts = Counter(answers.address for answers in self.values())
        return max(self._idle(), key=lambda one: counts[one[1].address], default=(None, None))[0]


def size_of(value: Any) -> int:
    """The approximate size of a message's output in bytes."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(map(size_of, value.values()))
    return sum(map(size_of, value)) if isinstance(value, list | tuple) else 8


class PendingEvents(dict[str, Any]):
    """Replaces Gradio's `event_ids_to_events`: events that have not ended, and their byte reservations."""

    def __init__(self) -> None:
        super().__init__()
        self.reservations: dict[str, BodyReservation] = {}

    def pop(self, event: str, *default: Any) -> Any:
        if reservation := self.reservations.pop(event, None):
            reservation.release()
        return super().pop(event, *default)

    def of_address(self, address: str | None) -> list[Any]:
        return [event for event in self.values() if address_of(event.request) == address]


def bound_queue(page: gr.Blocks, limits: SessionLimits | None = None) -> None:
    """Limit the queue of a page, by the usual limits or by others."""
    limits = limits or SessionLimits()
    queue: Any = page._queue
    queue.event_ids_to_events = events = PendingEvents()
    pending = queue.pending_event_ids_session

    def is_busy(session: str) -> bool:
        return any(event in events for event in pending.get(session, ()))

    sessions = SessionQueues(is_busy, lambda session: pending.pop(session, None), limits)
    queue.pending_messages_per_session = sessions
    set_patience(page, limits.patience_rounds)
    queue.push = partial(_push, queue, sessions, events, queue.push)
    # Gradio keeps the last values of each session's components for deep links, which are closed here: for 256 sessions
    # with the largest possible run, 1.3 GB.
    state: Any = SessionState
    state._update_value_in_config = _discard_value
    # Gradio rebuilds a table of all events after each event, for a page that is closed here.
    queue.ANALYTICS_MAX_EVENTS = 1
    queue.compute_analytics_summary = lambda records: {}


def _discard_value(state: SessionState, key: int, value: Any) -> None:
    """Replaces Gradio's method, which keeps the value."""


async def _push(
    queue: Any,
    sessions: SessionQueues,
    events: PendingEvents,
    push: Callable[..., Awaitable[Any]],
    body: Any,
    request: Any,
    username: Any,
) -> Any:
    """Add an event to the queue if its address may have another one. Its bytes stay reserved until it has ended."""
    address = address_of(request)
    sessions.schedule_sweep()
    if address is not None:
        theirs = events.of_address(address)
        is_file = queue.blocks.fns[body.fn_index].concurrency_id == FILES
        files = sum(event.concurrency_id == FILES for event in theirs)
        if len(theirs) >= sessions.limits.events_per_address or (is_file and files >= MAX_FILES_PER_ADDRESS):
            return False, Message("line.events"), "queue_full"
    reservation = BodyReservation(address)
    try:
        reservation.add(size_of(body.data) + size_of(body.event_data))
    except RefusedError as refused:
        return False, str(refused), "queue_full"
    _asking.set(address)
    is_in = False
    try:
        is_in, event, state = await push(body=body, request=request, username=username)
        if is_in and event in events:
            events.reservations[event] = reservation
            waits_for_answer(event)
        return is_in, event, state
    finally:
        if not is_in or event not in events:
            reservation.release()
