"""A visitor attended to, from the line to the last update, whatever the model and the visitor do.

The work runs in a thread of its own, so the model does not wait for the page, and the server's event loop for neither.
What comes is handed on when it comes, but updates that follow each other closely go together, because each costs Gradio
and the browser some milliseconds in which a model on the same machine stands still. Whoever leaves is noticed
when Gradio closes what is made here: at once where it cancels, else at the next update. Knows no run and no component.
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
from decoding.models.malloc import give_back
from decoding.serving import memory_budget
from decoding.serving.admission import Line, Visitor, sentence, sharing

PAUSE_SECONDS = 0.15
"""From one update to the next at least, for a visitor alone: oftener nobody sees, and Gradio needs 6 ms for each."""
PAUSE_FOR_EACH = 0.02
"""So much more for each other visitor who is served."""
BEAT_SECONDS = 1.0
"""After so long without an update one is sent that changes nothing: Gradio looks then whether anybody listens."""


async def attend(
    line: Line,
    work: Callable[[], Generator[Any, None, None]],
    *,
    say: Callable[[str], Any],
    beat: Callable[[], Any],
    visitor: Visitor,
    is_heard: Callable[[], bool] = lambda: True,
    explains: Callable[[Any], bool] = lambda update: False,
    is_long: bool = False,
) -> AsyncGenerator[Any, None]:
    """The `visitor`'s place in line as `say` words it, and then what `work` yields. Of texts that follow each other
    closely only the last is handed on, since each holds those before it; but never is the first overtaken, by which the
    panel sees that another run begins. Other updates go one by one. Where nothing comes for a while, the visitor hears
    that others share the model, but not after an update that `explains` by itself what is waited for.

    Ends where what was sent `is_heard` no longer. Raises BusyError where the line has no place for the visitor, or the
    work takes longer than the line allows; and what `work` raises. Closing this ends the work after the step under way.
    """
    place = line.enter(visitor, is_long=is_long)
    loop, come = asyncio.get_running_loop(), asyncio.Queue[Any]()
    left, started = threading.Event(), False

    def write() -> None:
        cancellation.bear(left)
        memory_budget.bear(visitor.address)
        end = _End()
        try:
            with closing(work()) as items:
                for item in items:
                    _tell(loop, come.put_nowait, item)
                    cancellation.check_left()
        except cancellation.LeftError:
            pass
        except BaseException as error:
            end = _End(error)
        if line.served <= 1:
            give_back()  # what a search held would stay with the process
        _tell(loop, line.leave, place)
        _tell(loop, come.put_nowait, end)

    try:
        while place.number:
            yield say(sentence(place))
            if not is_heard():
                return
            await place.moved(BEAT_SECONDS)
            if place.number:
                line.check_open()
        started = True
        threading.Thread(target=copy_context().run, args=(write,), name="run", daemon=True).start()
        async with aclosing(_updates(come, line, monotonic() + line.seconds)) as updates:
            told, explained = False, False
            async for item in updates:
                if item is not None:
                    explained = explains(item)
                if item is None and line.served > 1 and not (told or explained):
                    told = True
                    yield say(sharing(line))
                elif told and item is not None:
                    told = False
                    yield say("")
                yield beat() if item is None else item
                if not is_heard():
                    return
    finally:
        left.set()
        if not started:
            line.leave(place)


@dataclass(frozen=True, slots=True)
class _End:
    error: BaseException | None = None


async def _updates(come: asyncio.Queue[Any], line: Line, deadline: float) -> AsyncGenerator[Any, None]:
    """What came, in pauses, and None where nothing did for a while."""
    loop = asyncio.get_running_loop()
    sent, held_until = 0, 0.0
    item: Any = None
    while not isinstance(item, _End):
        seconds = min(deadline, line.ends_at) - monotonic()
        if seconds <= 0 and line.ends_at < deadline:
            raise BusyError(
                "The server is being restarted, so your run was ended. What it has written stays. Press Run "
                "again in a minute, on this page."
            )
        if seconds <= 0:
            raise BusyError(
                f"This run was stopped after {line.seconds:,.0f} seconds, so that others have their turn. "
                "Use fewer steps."
            )
        try:
            item = await asyncio.wait_for(come.get(), min(BEAT_SECONDS, seconds))
        except TimeoutError:
            yield None
            continue
        while sent and isinstance(item, str):  # a text: let the next one overtake it
            try:
                wait = held_until - loop.time()
                following = await asyncio.wait_for(come.get(), wait) if wait > 0 else come.get_nowait()
            except (TimeoutError, asyncio.QueueEmpty):
                break
            if not isinstance(following, str):
                yield item
            item = following
        if not isinstance(item, _End):
            yield item
            sent += isinstance(item, str)
            # The first ones, a run's header and its first step, go at once.
            pause = PAUSE_SECONDS + PAUSE_FOR_EACH * max(0, line.served - 1)
            held_until = loop.time() + (pause if sent > 1 else 0.0)
    if item.error:
        raise item.error


def _tell(loop: asyncio.AbstractEventLoop, call: Callable[..., Any], *args: Any) -> None:
    with suppress(RuntimeError):  # the server is gone
        loop.call_soon_threadsafe(call, *args)
