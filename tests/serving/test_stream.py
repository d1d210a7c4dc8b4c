"""Visitors attended to: the line, the pauses, leaving, and the budget; no page and no model."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from decoding.errors import BusyError
from decoding.page.gradio_compat.liveness import visitor_of
from decoding.serving.admission import MAX_PER_SESSION, AdmissionQueue, Visitor
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


def test_updates_come_in_order_and_the_ticket_is_returned() -> None:
    async def test() -> None:
        queue = AdmissionQueue(runs=1)
        async with visit(queue, quick) as updates:
            got = await to_the_end(updates)
        assert [got[0], *got[-2:]] == [{"notice": ""}, "ab", {"notice": "done"}]
        assert (queue.served, queue.waiting) == (0, 0)

    run(test)


def test_the_first_text_of_a_run_is_always_sent() -> None:
    async def test() -> None:
        held = asyncio.Event()

        def work() -> Generator[str, None, None]:
            yield from ("a", "ab", "abc")
            loop.call_soon_threadsafe(held.set)

        loop = asyncio.get_running_loop()
        async with visit(AdmissionQueue(), work) as updates:
            first = asyncio.ensure_future(anext(updates))
            await asyncio.sleep(0)
            while not held.is_set():  # the loop is kept from reading until all is there
                await asyncio.sleep(0)
            assert await first == "a"  # the panel sees by it that another run begins, also where that says the same
            assert (await to_the_end(updates))[-1] == "abc"

    run(test)


def test_after_the_first_two_only_the_last_of_a_pause_is_sent() -> None:
    def work() -> Generator[str, None, None]:
        for length in range(1, 5):
            step.acquire()
            yield "abcd"[:length]

    step = threading.Semaphore(0)

    async def test() -> None:
        async with visit(AdmissionQueue(pause_seconds=60), work) as updates:
            for text in ("a", "ab"):
                step.release()
                assert await heard(updates) == text
            step.release(2)
            assert await to_the_end(updates) == ["abcd"]

    run(test)


def test_a_slow_run_is_told_that_others_share_the_model() -> None:
    async def test() -> None:
        queue, mine, theirs = AdmissionQueue(runs=2, heartbeat_seconds=0.01), Held(), Held()
        async with visit(queue, mine) as alone:
            assert await anext(alone) == "beat"
            async with visit(queue, theirs) as other:
                await anext(other)
                assert await heard(alone) == {"said": "2 runs are sharing the model now. Yours continues by itself."}
                assert await anext(alone) == "beat"  # said once
                mine.go.release()
                assert await heard(alone) == {"said": ""}
                assert await anext(alone) == "x"
                theirs.go.release(50)
            mine.go.release(50)

    run(test)


def test_no_sharing_notice_after_an_update_that_explains_the_wait() -> None:
    """As while a model loads: nobody shares it yet."""
    go, then = threading.Event(), threading.Event()

    def work() -> Generator[str, None, None]:
        yield "Loading …"
        go.wait(300)
        yield "x"
        then.wait(300)

    async def test() -> None:
        queue, theirs = AdmissionQueue(runs=2, heartbeat_seconds=0.01), Held()
        async with (
            visit(queue, work, explains_wait=lambda update: update == "Loading …") as mine,
            visit(queue, theirs) as other,
        ):
            assert await heard(mine) == "Loading …"
            await anext(other)
            assert [await anext(mine) for _ in range(4)] == ["beat"] * 4
            go.set()
            assert await heard(mine) == "x"
            assert await heard(mine) == {"said": "2 runs are sharing the model now. Yours continues by itself."}
            then.set()
            theirs.go.release(50)

    run(test)


def test_waiting_visitors_see_their_position_and_move_up() -> None:
    async def test() -> None:
        queue, first = AdmissionQueue(runs=1, waiting=2), Held()
        async with visit(queue, first) as served, visit(queue, quick) as next_one, visit(queue, quick) as last:
            first.go.release()
            assert await heard(served) == "x"
            assert "You are next" in (await anext(next_one))["said"]
            assert "number 2 in line, 1 before you" in (await anext(last))["said"]
            with pytest.raises(BusyError, match="The server is full: it serves 1 at once and lets 2 wait"):
                await anext(stream_updates(queue, quick, notice=str, heartbeat=str, visitor=NOBODY))
            await next_one.aclose()
            assert "You are next" in (await anext(last))["said"]
            await served.aclose()
            first.go.release()
            assert (await to_the_end(last))[-1] == {"notice": "done"}

    run(test)


def test_a_session_has_a_few_tickets_and_an_address_half() -> None:
    queue = AdmissionQueue(runs=2, waiting=10)
    mine = [queue.enter(Visitor("mine", "8.8.8.8")) for _ in range(MAX_PER_SESSION)]
    with pytest.raises(BusyError, match="This page has 4 runs under way or waiting, and no page may have more"):
        queue.enter(Visitor("mine", "8.8.8.8"))
    queue.enter(Visitor("a classmate's", "8.8.8.8"))
    queue.enter(Visitor(None, "8.8.8.8"))
    with pytest.raises(
        BusyError, match="6 runs from your network's address are under way or waiting, which is half of what"
    ):
        queue.enter(Visitor("another classmate's", "8.8.8.8"))
    for place in mine[:2]:
        queue.leave(place)
    queue.enter(Visitor("mine", "8.8.8.8"))
    for n in range(7):  # to the last place: whoever cannot be told apart has no share
        queue.enter(Visitor(f"behind a proxy {n}"))
    with pytest.raises(BusyError, match="The server is full"):
        queue.enter(Visitor("new", "9.9.9.9"))


def test_forty_visitors_behind_one_address_are_admitted() -> None:
    queue = AdmissionQueue()
    for pupil in range(40):
        queue.enter(Visitor(f"pupil {pupil}", "8.8.8.8"))
    assert queue.served + queue.waiting == 40


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("8.8.8.8", "8.8.8.8"),
        ("::ffff:8.8.8.8", "8.8.8.8"),
        ("2001:4860:4860:1:2:3:4:5", "2001:4860:4860:0001"),  # one customer's network
        ("127.0.0.1", None),  # where a proxy may be, with everybody behind it
        ("::1", None),
        ("127.0.0.2", "127.0.0.2"),
        ("10.1.2.3", "10.1.2.3"),
        ("fe80::1%eth0", "fe80:0000:0000:0000"),
        ("testclient", None),
        ("", None),
    ],
)
def test_which_address_counts(host: str, address: str | None) -> None:
    request = gr.Request(session_hash="s", client=SimpleNamespace(host=host))
    assert visitor_of(request) == Visitor("s", address)
    assert visitor_of(gr.Request(session_hash="s")) == Visitor("s")


def test_a_heartbeat_is_sent_without_updates() -> None:
    async def test() -> None:
        work = Held()
        async with visit(AdmissionQueue(heartbeat_seconds=0.01), work) as updates:
            assert await anext(updates) == "beat"
        work.go.release()

    run(test)


def test_leaving_ends_the_work_within_a_step_and_frees_the_ticket() -> None:
    async def test() -> None:
        queue, work = AdmissionQueue(runs=1), Held()
        async with visit(queue, work) as updates:
            work.go.release()
            assert await heard(updates) == "x"
        assert queue.served == 1  # until the step under way has ended
        work.go.release(50)
        await until(lambda: not queue.served)
        assert work.closed.is_set()
        assert work.steps <= 2

    run(test)


def test_a_cancelled_task_leaves_too() -> None:
    async def test() -> None:
        queue, work = AdmissionQueue(runs=1), Held()

        async def listen() -> None:
            async with visit(queue, work) as updates:
                async for _ in updates:
                    pass

        task = asyncio.create_task(listen())
        await until(lambda: queue.served == 1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        work.go.release(50)
        await until(lambda: not queue.served)
        assert work.steps <= 1

    run(test)


def test_a_run_is_stopped_at_the_time_limit() -> None:
    async def test() -> None:
        queue, work = AdmissionQueue(seconds=0.05, heartbeat_seconds=0.01), Held()
        async with visit(queue, work) as updates:
            with pytest.raises(BusyError, match=r"This run was stopped after 0 seconds, so that others"):
                [await anext(updates) for _ in range(100)]  # which take a second at the least
        work.go.release()
        await until(lambda: not queue.served)
        assert work.closed.is_set()

    run(test)


def test_a_closed_queue_refuses_new_waiting_and_running_visitors() -> None:
    async def test() -> None:
        queue, work = AdmissionQueue(runs=1), Held()
        async with visit(queue, work) as served, visit(queue, quick) as waiting:
            work.go.release()
            assert await heard(served) == "x"
            assert "You are next" in (await anext(waiting))["said"]
            queue.close(0)
            for updates, sentence in (
                (waiting, r"The server is being restarted\. Nothing of yours is lost"),
                (visit(queue, quick).thing, r"The server is being restarted\. Nothing of yours is lost"),
                (served, "being restarted, so your run was ended. What it has written stays"),
            ):
                with pytest.raises(BusyError, match=sentence):
                    await anext(updates)
        work.go.release()
        await until(lambda: not queue.served)

    run(test)


def test_an_error_of_the_work_comes_after_its_updates() -> None:
    def work() -> Generator[str, None, None]:
        yield "a"
        raise ValueError("b")

    async def test() -> None:
        queue = AdmissionQueue()
        async with visit(queue, work) as updates:
            assert await heard(updates) == "a"
            with pytest.raises(ValueError, match="b"):
                await heard(updates)
        assert queue.served == 0

    run(test)


def test_a_disconnected_visitors_run_ends() -> None:
    async def test() -> None:
        queue, work = AdmissionQueue(runs=1), Held()
        answers = iter([True, False])
        options: Any = {"notice": str, "heartbeat": str, "visitor": NOBODY, "is_connected": lambda: next(answers)}
        work.go.release(2)
        assert len([update async for update in stream_updates(queue, work, **options)]) == 2
        work.go.release()
        await until(lambda: not queue.served)
        assert work.closed.is_set()

    run(test)


def test_one_address_leaves_places_to_others_and_long_work_has_lanes() -> None:
    queue = AdmissionQueue(runs=8, waiting=20)
    theirs = [queue.enter(Visitor(f"they {n}", "8.8.8.8")) for n in range(8)]
    assert [place.number for place in theirs] == [0] * 6 + [1, 2]
    mine = queue.enter(Visitor("me", "9.9.9.9"))
    assert mine.number == 0  # past those who have their share
    queue.leave(theirs[0])
    assert (theirs[6].number, theirs[7].number) == (0, 1)
    for place in (*theirs, mine):
        queue.leave(place)

    searches = [queue.enter(Visitor(f"they {n}", "8.8.8.8"), is_long=True) for n in range(2)]
    assert [place.number for place in searches] == [0, 1]  # one at a time for an address
    other = queue.enter(Visitor("me", "9.9.9.9"), is_long=True)
    third = queue.enter(Visitor("a third", "7.7.7.7"), is_long=True)
    assert (other.number, third.number) == (0, 2)
    assert queue.enter(Visitor("a run", "7.7.7.7")).number == 0
    queue.leave(searches[0])
    assert (searches[1].number, third.number) == (0, 1)


def test_a_visitor_without_an_address_has_one_long_question_at_a_time_too() -> None:
    queue = AdmissionQueue()
    first, second = (queue.enter(Visitor("me"), is_long=True) for _ in range(2))
    other = queue.enter(Visitor("another"), is_long=True)
    assert (first.number, second.number, other.number) == (0, 1, 0)
    queue.leave(first)
    assert second.number == 0
