"""Gradio's queue, so that nobody's traffic costs anybody else their run, and no answer is kept for those who left.

Owns whose events there may be in it, which session goes first where there are too many, and how long and how much is
kept unread. Gradio drops the session that was made first, whoever runs in it, and keeps what is never fetched without
end. Knows no run.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextvars import ContextVar
from functools import partial
from time import monotonic
from typing import Any

import gradio as gr
from gradio.state_holder import SessionState

from decoding.page.http.addresses import visitors_address
from decoding.page.http.bodies import Hold, RefusedError

MAX_SESSIONS = 2_000
MAX_UNREAD_BYTES = 32 * 2**20
"""Of all answers that nobody has fetched."""
UNREAD_SECONDS = 60.0
"""So long an answer waits for its visitor."""
SWEEP_SECONDS = 5.0
EVENTS_OF_AN_ADDRESS = 128
"""Of 256 that Gradio handles at once."""
FILES = "files"
"""The `concurrency_id` of what is written and checked without the model."""
FILES_OF_AN_ADDRESS = 8

_MANY = (
    "The server already handles as many requests from your network's address as it allows. Ask again when some have "
    "ended."
)

_asking: ContextVar[str | None] = ContextVar("asking", default=None)


class Answers(asyncio.Queue[Any]):
    """One session's messages, as Gradio's queue and streams use them."""

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
        """Whether somebody waits for the next message."""
        return self._readers > 0


class Sessions(dict[str, Answers]):
    """What Gradio keeps as `pending_messages_per_session`: its visitors' messages by session, the oldest first."""

    def __init__(self, is_busy: Callable[[str], bool], forget: Callable[[str], None]) -> None:
        super().__init__()
        self._is_busy, self._forget = is_busy, forget
        self._sweeps = False

    def __setitem__(self, session: str, messages: Any) -> None:
        """A session's messages, in a queue of our own."""
        while session not in self and len(self) >= MAX_SESSIONS and (other := self._first_to_go()):
            self.drop(other)
        super().__setitem__(session, Answers(_asking.get()))

    def __delitem__(self, session: str) -> None:
        self.pop(session, None)  # a stream that ends finds that it was dropped

    def drop(self, session: str) -> None:
        self.pop(session, None)
        self._forget(session)

    def sweep_on(self) -> None:
        """Sweep now and then, in this event loop, for as long as there is anything."""
        if not self._sweeps:
            self._sweeps = True
            asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._sweep_again)

    def _sweep_again(self) -> None:
        self._sweeps = False
        self.sweep()
        if self:
            self.sweep_on()

    def sweep(self) -> None:
        """Drop what nobody fetches, and of what is much the largest."""
        now = monotonic()
        for session, answers in [*self._idle()]:
            if now - answers.touched > UNREAD_SECONDS:
                self.drop(session)
        while sum(answers.unread for answers in self.values()) > MAX_UNREAD_BYTES:
            largest = max(self._idle(), key=lambda one: one[1].unread, default=None)
            if largest is None or not largest[1].unread:
                break
            self.drop(largest[0])

    def _idle(self) -> Iterator[tuple[str, Answers]]:
        """Those in which nothing runs, and whose messages nobody reads just now."""
        return (
            (session, answers) for session, answers in self.items() if not (answers.is_read or self._is_busy(session))
        )

    def _first_to_go(self) -> str | None:
        """The oldest idle one of the address that has most of them: whoever floods pays for it."""
        counts = Counter(answers.address for answers in self.values())
        return max(self._idle(), key=lambda one: counts[one[1].address], default=(None, None))[0]


def size_of(value: Any) -> int:
    """About how many bytes a message's output takes."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(map(size_of, value.values()))
    return sum(map(size_of, value)) if isinstance(value, list | tuple) else 8


class Events(dict[str, Any]):
    """What Gradio keeps as `event_ids_to_events`: an event from its coming to its end, and what is held for it."""

    def __init__(self) -> None:
        super().__init__()
        self.holds: dict[str, Hold] = {}

    def pop(self, event: str, *default: Any) -> Any:
        if hold := self.holds.pop(event, None):
            hold.release()
        return super().pop(event, *default)

    def of(self, address: str | None) -> list[Any]:
        return [event for event in self.values() if _address(event.request) == address]


def bound(page: gr.Blocks) -> None:
    """Have a page's queue, once it has one, keep all this."""
    queue: Any = page._queue
    queue.event_ids_to_events = events = Events()
    pending = queue.pending_event_ids_session

    def is_busy(session: str) -> bool:
        return any(event in events for event in pending.get(session, ()))

    sessions = Sessions(is_busy, lambda session: pending.pop(session, None))
    queue.pending_messages_per_session = sessions
    queue.push = partial(_push, queue, sessions, events, queue.push)
    # The last values of each session's components, for links to a page's state, which are closed here: of 256 sessions,
    # each with the largest run that there is, 1.3 GB.
    state: Any = SessionState
    state._update_value_in_config = _not_kept
    # A table of all events so far, made anew after each, for a page of Gradio's that is closed here.
    queue.ANALYTICS_MAX_EVENTS = 1
    queue.compute_analytics_summary = lambda records: {}


def _not_kept(state: SessionState, key: int, value: Any) -> None:
    """In place of Gradio's, which keeps it."""


async def _push(
    queue: Any,
    sessions: Sessions,
    events: Events,
    push: Callable[..., Awaitable[Any]],
    body: Any,
    request: Any,
    username: Any,
) -> Any:
    """An event into the queue, where its address may have one more; what it holds is counted until it has ended."""
    address = _address(request)
    sessions.sweep_on()
    if address is not None:
        theirs = events.of(address)
        is_file = queue.blocks.fns[body.fn_index].concurrency_id == FILES
        files = sum(event.concurrency_id == FILES for event in theirs)
        if len(theirs) >= EVENTS_OF_AN_ADDRESS or (is_file and files >= FILES_OF_AN_ADDRESS):
            return False, _MANY, "queue_full"
    hold = Hold(address)
    try:
        hold.add(size_of(body.data) + size_of(body.event_data))
    except RefusedError as refused:
        return False, str(refused), "queue_full"
    _asking.set(address)
    is_in = False
    try:
        is_in, event, state = await push(body=body, request=request, username=username)
        if is_in and event in events:
            events.holds[event] = hold
        return is_in, event, state
    finally:
        if not is_in or event not in events:
            hold.release()


def _address(request: Any) -> str | None:
    return visitors_address(request.client.host) if request.client else None
