"""Requests that wait for something new in a vote, in the event loop and without a thread.

Owns how long one waits, how many of one student or teacher do, and who is woken. Knows no session's content.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request

WAIT_SECONDS = 15.0
MAX_WAITING = 2
"""Requests of one student or teacher that wait; a third one is answered at once."""


class WaitingRequests:
    """The requests that wait, by session and audience: "class" for the teacher, "student" for all phones."""

    def __init__(self, wait_seconds: float = WAIT_SECONDS) -> None:
        self._wait_seconds = wait_seconds
        self._events: dict[tuple[str, str], asyncio.Event] = {}
        self._waiting: Counter[tuple[str, str]] = Counter()

    def wake(self, code: str, audience: str) -> None:
        if event := self._events.pop((code, audience), None):
            event.set()

    async def wait(self, request: Request, code: str, who: str, audience: str) -> None:
        """Wait until the audience is woken, the sender has left, or the time is over."""
        name = (code, who)
        if self._waiting[name] >= MAX_WAITING:
            return
        event = self._events.setdefault((code, audience), asyncio.Event())
        self._waiting[name] += 1
        try:
            await _first(event.wait(), _disconnected(request), seconds=self._wait_seconds)
        finally:
            self._waiting[name] -= 1
            if not self._waiting[name]:
                del self._waiting[name]

    def forget(self, is_over: Callable[[str], bool]) -> None:
        """Forget the sessions that are over."""
        for code, audience in [name for name in self._events if is_over(name[0])]:
            self.wake(code, audience)


async def _first(*waits: Awaitable[Any], seconds: float) -> None:
    """Wait for the first of these, for at most `seconds`."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
