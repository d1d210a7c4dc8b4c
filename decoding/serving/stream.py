"""The stream of one visitor's updates, from the admission queue to the last update.

Owns the worker thread of a visitor, the pace of updates, the heartbeat and the time limit. Knows no run and no
component of the page.

The work runs in a thread of its own, so that neither the model nor the server's event loop waits for the page. Text
updates that follow each other closely are merged, because each costs Gradio and the browser some milliseconds in which
a model on the same machine computes nothing. A visitor who leaves is noticed when Gradio closes the generator: at once
if Gradio cancels it, else at the next update.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing, closing, suppress
from contextvars import copy_context
from dataclasses import dataclass
from time import monotonic
from typing import Any

from decoding import cancellation
from decoding.errors import BusyError
from decoding.messages import Message
from decoding.models.allocator_settings import trim_memory
from decoding.serving import memory_budget
from decoding.serving.admission import AdmissionQueue, Ticket, Visitor, sharing_message, waiting_message

PAUSE_PER_VISITOR = 0.02
"""Added to the queue's pause, in seconds, for each other visitor who is served."""
LISTENING_SECONDS = 0.02
"""How often it is checked whether a visitor listens by now."""


async def stream_updates(
    queue: AdmissionQueue,
    work: Callable[[], Generator[Any, None, None]],
    *,
    notice: Callable[[str], Any],
    heartbeat: Callable[[], Any],
    visitor: Visitor,
    is_connected: Callable[[], bool] = lambda: True,
    is_listening: Callable[[], bool] = lambda: True,
    explains_wait: Callable[[Any], bool] = lambda update: False,
    is_long: bool = False,
) -> AsyncGenerator[Any, None]:
    """Yield `notice` updates while the `visitor` waits in `queue`, then what `work` yields in a thread of its own.
    Where others are served, the work begins when `is_listening` is True: what nobody hears costs nobody else.

    Of text updates (str) that follow each other closely only the last is passed on, since each contains the ones before
    it; the first is always sent, because it tells the panel that a new run begins. Other updates are sent one by one.
    If none comes for a while, the visitor is told that others share the model, except after an update that
    `explains_wait`. `heartbeat` makes the update that changes nothing.

    Ends when `is_connected` is False. Raises BusyError if the queue refuses the visitor or the work exceeds the queue's
    time limit, and whatever `work` raises. Closing the generator cancels the work after the step under way.
    """
    ticket = queue.enter(visitor, is_long=is_long)
    worker = _Worker(work, queue, ticket, visitor)
    try:
        has_waited = bool(ticket.number)
        while ticket.number:
            yield notice(waiting_message(ticket))
            if not is_connected():
                return
            await ticket.wait_for_advance(queue.heartbeat_seconds)
            if ticket.number:
                queue.check_open()
        while (is_there := is_connected()) and queue.served > 1 and not is_listening():
            await asyncio.sleep(LISTENING_SECONDS)
        if not is_there:
            return
        if has_waited:
            yield notice("")
        worker.start()
        async with aclosing(_paced_updates(worker.items, queue, monotonic() + queue.seconds)) as updates:
            told, explained = False, False
            async for item in updates:
                if item is not None:
                    explained = explains_wait(item)
                if item is None and queue.served > 1 and not (told or explained):
                    told = True
                    yield notice(sharing_message(queue))
                elif told and item is not None:
                    told = False
                    yield notice("")
                yield heartbeat() if item is None else item
                if not is_connected():
                    return
    finally:
        worker.cancel()


@dataclass(frozen=True, slots=True)
class _End:
    error: BaseException | None = None


class _Worker:
    """A visitor's work in a thread of its own. What it yields comes into `items`, and at last an `_End`.

    It has the visitor's ticket, and gives it back once the thread has ended.
    """

    def __init__(
        self, work: Callable[[], Generator[Any, None, None]], queue: AdmissionQueue, ticket: Ticket, visitor: Visitor
    ) -> None:
        self.items = asyncio.Queue[Any]()
        self._work, self._queue, self._ticket, self._visitor = work, queue, ticket, visitor
        self._loop = asyncio.get_running_loop()
        self._left, self._is_started = threading.Event(), False

    def start(self) -> None:
        """Start the thread. Raises RuntimeError if the machine has none."""
        threading.Thread(target=copy_context().run, args=(self._run,), name="run", daemon=True).start()
        self._is_started = True

    def cancel(self) -> None:
        """Cancel the work after the step under way. What was never started gives its ticket back at once."""
        self._left.set()
        if not self._is_started:
            self._queue.leave(self._ticket)

    def _run(self) -> None:
        cancellation.bind(self._left)
        memory_budget.charge_to(self._visitor.address)
        end = _End()
        try:
            with closing(self._work()) as items:
                for item in items:
                    self._call_in_loop(self.items.put_nowait, item)
                    cancellation.raise_if_cancelled()
        except cancellation.WorkCancelledError:
            pass
        except BaseException as error:
            end = _End(error)
        if self._queue.served <= 1:
            trim_memory()  # else the process would keep the memory of a search
        self._call_in_loop(self._queue.leave, self._ticket)
        self._call_in_loop(self.items.put_nowait, end)

    def _call_in_loop(self, call: Callable[..., Any], *args: Any) -> None:
        with suppress(RuntimeError):  # the event loop has been closed
            self._loop.call_soon_threadsafe(call, *args)


async def _paced_updates(
    incoming: asyncio.Queue[Any], queue: AdmissionQueue, deadline: float
) -> AsyncGenerator[Any, None]:
    """The items at the pace of the queue, and None when there was none for its `heartbeat_seconds`."""
    loop = asyncio.get_running_loop()
    sent, held_until = 0, 0.0
    item: Any = None
    while not isinstance(item, _End):
        seconds = min(deadline, queue.ends_at) - monotonic()
        if seconds <= 0 and queue.ends_at < deadline:
            raise BusyError(Message("line.ended"))
        if seconds <= 0:
            raise BusyError(Message("run.long", seconds=f"{queue.seconds:,.0f}"))
        try:
            # In Python 3.11 a cancellation is lost in `wait_for` if an item comes at the same moment.
            async with asyncio.timeout(min(queue.heartbeat_seconds, seconds)):
                item = await incoming.get()
        except TimeoutError:
            yield None
            continue
        while sent and isinstance(item, str):  # a text: replaced by the next one, if that comes soon
            try:
                following = incoming.get_nowait()
            except asyncio.QueueEmpty:
                try:
                    async with asyncio.timeout_at(held_until):
                        following = await incoming.get()
                except TimeoutError:
                    break
            if not isinstance(following, str):
                yield item
            item = following
        if not isinstance(item, _End):
            yield item
            sent += isinstance(item, str)
            # A run's header and its first step are sent at once.
            pause = queue.pause_seconds + PAUSE_PER_VISITOR * max(0, queue.served - 1)
            held_until = loop.time() + (pause if sent > 1 else 0.0)
    if item.error:
        raise item.error
