"""Visitors attended to: the line, the pauses, leaving, and the budget; no page and no model."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Generator
from contextlib import aclosing
from typing import Any

import pytest

from decoding.errors import BusyError
from decoding.page import attend as module
from decoding.page.attend import attend
from decoding.page.line import Line


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 30))


def visit(line: Line, work: Callable[[], Generator[Any, None, None]]) -> Any:
    return aclosing(attend(line, work, say=lambda word: {"said": word}, beat=lambda: "beat"))


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


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


def test_everything_comes_in_order_and_the_place_is_given_back() -> None:
    async def test() -> None:
        line = Line(runs=1)
        async with visit(line, quick) as updates:
            got = [update async for update in updates]
        assert [got[0], *got[-2:]] == [{"notice": ""}, "ab", {"notice": "done"}]
        assert (line.served, line.waiting) == (0, 0)

    run(test)


def test_a_runs_first_text_is_never_overtaken() -> None:
    async def test() -> None:
        held = asyncio.Event()

        def work() -> Generator[str, None, None]:
            yield from ("a", "ab", "abc")
            loop.call_soon_threadsafe(held.set)

        loop = asyncio.get_running_loop()
        async with aclosing(attend(Line(), work, say=str, beat=str)) as updates:
            first = asyncio.ensure_future(anext(updates))
            await asyncio.sleep(0)
            while not held.is_set():  # the loop is kept from reading until all is there
                await asyncio.sleep(0)
            assert await first == "a"  # the panel sees by it that another run begins, also where that says the same
            assert [update async for update in updates][-1] == "abc"

    run(test)


def test_after_the_first_two_only_the_last_of_a_pause_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_SECONDS", 60)

    def work() -> Generator[str, None, None]:
        for length in range(1, 5):
            step.acquire()
            yield "abcd"[:length]

    step = threading.Semaphore(0)

    async def test() -> None:
        async with visit(Line(), work) as updates:
            for text in ("a", "ab"):
                step.release()
                assert await anext(updates) == text
            step.release(2)
            assert [update async for update in updates] == ["abcd"]

    run(test)


def test_who_waits_is_told_the_place_and_moves_up() -> None:
    async def test() -> None:
        line, first = Line(runs=1, waiting=2), Held()
        async with visit(line, first) as served, visit(line, quick) as next_one, visit(line, quick) as last:
            first.go.release()
            assert await anext(served) == "x"
            assert "You are next" in (await anext(next_one))["said"]
            assert "number 2 in line, 1 before you" in (await anext(last))["said"]
            with pytest.raises(BusyError, match="The server is full: it serves 1 at once and lets 2 wait"):
                await anext(attend(line, quick, say=str, beat=str))
            await next_one.aclose()
            assert "You are next" in (await anext(last))["said"]
            await served.aclose()
            first.go.release()
            assert [update async for update in last][-1] == {"notice": "done"}

    run(test)


def test_a_beat_is_sent_where_nothing_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BEAT_SECONDS", 0.01)

    async def test() -> None:
        work = Held()
        async with visit(Line(), work) as updates:
            assert await anext(updates) == "beat"
        work.go.release()

    run(test)


def test_leaving_ends_the_work_within_a_step_and_frees_the_place() -> None:
    async def test() -> None:
        line, work = Line(runs=1), Held()
        async with visit(line, work) as updates:
            work.go.release()
            assert await anext(updates) == "x"
        assert line.served == 1  # until the step under way has ended
        work.go.release(50)
        await until(lambda: not line.served)
        assert work.closed.is_set()
        assert work.steps <= 2

    run(test)


def test_a_cancelled_task_leaves_too() -> None:
    async def test() -> None:
        line, work = Line(runs=1), Held()

        async def listen() -> None:
            async with visit(line, work) as updates:
                async for _ in updates:
                    pass

        task = asyncio.create_task(listen())
        await until(lambda: line.served == 1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        work.go.release(50)
        await until(lambda: not line.served)
        assert work.steps <= 1

    run(test)


def test_who_takes_too_long_is_stopped() -> None:
    async def test() -> None:
        line, work = Line(seconds=0.05), Held()
        async with visit(line, work) as updates:
            with pytest.raises(BusyError, match=r"This run was stopped after 0 seconds, so that others"):
                async for _ in updates:
                    pass
        work.go.release()
        await until(lambda: not line.served)
        assert work.closed.is_set()

    run(test)


def test_what_the_work_raises_is_raised_after_what_came_before() -> None:
    def work() -> Generator[str, None, None]:
        yield "a"
        raise ValueError("b")

    async def test() -> None:
        line = Line()
        async with visit(line, work) as updates:
            assert await anext(updates) == "a"
            with pytest.raises(ValueError, match="b"):
                await anext(updates)
        assert line.served == 0

    run(test)


def test_whom_nobody_hears_is_let_go() -> None:
    async def test() -> None:
        line, work = Line(runs=1), Held()
        ears = iter([True, False])
        options: Any = {"say": str, "beat": str, "is_heard": lambda: next(ears)}
        work.go.release(2)
        assert len([update async for update in attend(line, work, **options)]) == 2
        work.go.release()
        await until(lambda: not line.served)
        assert work.closed.is_set()

    run(test)
