"""What a visitor is sent while a run goes on: updates, pauses, beats, errors; and what ends it. No page, no model."""

import asyncio
import threading
from collections.abc import Callable, Generator
from time import monotonic
from typing import Any

import pytest

from decoding.errors import BusyError
from decoding.serving.admission import AdmissionQueue
from decoding.serving.stream import LISTENING_SECONDS, _paced_updates, stream_updates
from tests.machines import refused_threads
from tests.serving.visits import NOBODY, Held, heard, quick, run, to_the_end, visit


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


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


def test_who_waits_is_told_so_until_the_work_begins() -> None:
    async def test() -> None:
        queue, theirs = AdmissionQueue(runs=1), Held()
        async with visit(queue, theirs) as other, visit(queue, lambda: (x for x in "x")) as mine:
            theirs.go.release()
            assert await heard(other) == "x"
            assert "You are next" in (await anext(mine))["said"]
            await other.aclose()
            theirs.go.release(50)
            assert (await to_the_end(mine))[-2:] == [{"said": ""}, "x"]

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


def test_a_run_whose_thread_cannot_be_started_gives_its_place_back() -> None:
    async def test() -> None:
        queue = AdmissionQueue(runs=1)
        with refused_threads("run"), pytest.raises(RuntimeError, match="can't start new thread"):
            async with visit(queue, quick) as updates:
                await to_the_end(updates)
        assert queue.served == 0

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


@pytest.mark.parametrize("ticks", range(6))
@pytest.mark.parametrize("texts", [0, 2])
def test_a_cancellation_counts_that_comes_with_an_update(ticks: int, texts: int) -> None:
    async def test() -> None:
        incoming = asyncio.Queue[Any]()
        updates = _paced_updates(incoming, AdmissionQueue(pause_seconds=60.0), monotonic() + 60)
        for _ in range(texts):  # after the second, the next is held back
            incoming.put_nowait("x")
            assert await anext(updates) == "x"
        if texts:
            incoming.put_nowait("x")
        reader = asyncio.ensure_future(anext(updates))
        await asyncio.sleep(0.01)
        incoming.put_nowait("x")
        for _ in range(ticks):
            await asyncio.sleep(0)
        if reader.cancel():
            with pytest.raises(asyncio.CancelledError):
                await reader

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
        answers = iter([True, True, False])
        options: Any = {"notice": str, "heartbeat": str, "visitor": NOBODY, "is_connected": lambda: next(answers)}
        work.go.release(2)
        assert len([update async for update in stream_updates(queue, work, **options)]) == 2
        work.go.release()
        await until(lambda: not queue.served)
        assert work.closed.is_set()

    run(test)


def test_beside_others_the_work_of_who_does_not_listen_yet_has_not_begun() -> None:
    async def test() -> None:
        queue, theirs, mine, listens = AdmissionQueue(), Held(), Held(), asyncio.Event()
        mine.go.release()
        async with visit(queue, theirs) as other:
            first = asyncio.ensure_future(anext(other))
            await until(lambda: bool(queue.served))
            async with visit(queue, mine, is_listening=listens.is_set) as updates:
                heard_first = asyncio.ensure_future(heard(updates))
                await asyncio.sleep(3 * LISTENING_SECONDS)
                assert (queue.served, mine.steps) == (2, 0)
                listens.set()
                assert await heard_first == "x"
            theirs.go.release()
            assert await first

    run(test)


def test_alone_the_work_begins_before_anybody_listens() -> None:
    async def test() -> None:
        async with visit(AdmissionQueue(), quick, is_listening=lambda: False) as updates:
            assert await anext(updates) == {"notice": ""}

    run(test)


def test_the_work_of_who_left_before_it_began_never_begins() -> None:
    async def test() -> None:
        queue, work = AdmissionQueue(), Held()
        async with visit(queue, work, is_connected=lambda: False) as updates:
            assert [update async for update in updates] == []
        assert (queue.served, work.closed.is_set()) == (0, False)

    run(test)
