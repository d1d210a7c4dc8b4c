"""Visitors of the stream: their work, and what they hear of it."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from typing import Any

import pytest

from decoding.serving.admission import AdmissionQueue, Visitor
from decoding.serving.stream import stream_updates

NOBODY = Visitor()


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with ThreadPoolExecutor(1) as elsewhere:  # this thread's event loop is a browser's, where one is open
        elsewhere.submit(asyncio.run, asyncio.wait_for(test(), 300)).result()


def visit(
    queue: AdmissionQueue, work: Callable[[], Generator[Any, None, None]], visitor: Visitor = NOBODY, **options: Any
) -> Any:
    notice: Any = lambda word: {"said": word}  # noqa: E731
    return aclosing(stream_updates(queue, work, notice=notice, heartbeat=lambda: "beat", visitor=visitor, **options))


async def heard(updates: Any) -> Any:
    """The next update that says something: on a busy machine a beat may come before it. But where no thread is at work
    any more, all that it said is there, and at most one beat was about to be sent.
    """
    beats = 0
    while beats < 2:
        is_at_work = any(thread.name == "run" for thread in threading.enumerate())
        if (update := await anext(updates)) != "beat":
            return update
        beats += not is_at_work
    pytest.fail("the work has ended, and nobody was told")


async def to_the_end(updates: Any) -> list[Any]:
    """All updates that say something."""
    said = []
    with suppress(StopAsyncIteration):
        while True:
            said.append(await heard(updates))
    return said


def quick() -> Generator[Any, None, None]:
    yield {"notice": ""}
    yield "a"
    yield "ab"
    yield {"notice": "done"}


class Held:
    """Work that takes a step whenever it is told to."""

    def __init__(self) -> None:
        self.go = threading.Semaphore(0)
        self.steps, self.closed = 0, threading.Event()

    def __call__(self) -> Generator[Any, None, None]:
        try:
            while self.go.acquire():
                self.steps += 1
                yield "x" * self.steps
        finally:
            self.closed.set()
