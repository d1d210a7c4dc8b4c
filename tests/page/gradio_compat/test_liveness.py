"""A run whose visitor went before opening the stream of events: Gradio never misses them, so the page does."""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

import app as application
from decoding.errors import AddressError
from decoding.page import events
from decoding.page.gradio_compat import liveness
from decoding.page.gradio_compat.session_limits import SessionLimits
from decoding.serving.model_registry import ModelRegistry
from tests.browser import served
from tests.fakes import ScriptedEngine
from tests.waiting import until

PATIENCE = SessionLimits(patience_rounds=300)
ONE_ROUND = SessionLimits(patience_rounds=1)
"""Of 0.1 s at the least, in which there are some heartbeats of a page of `page_of`."""


def left(page: Any) -> float:
    """How many runs ended because nobody listened."""
    return page.health.registry.get_sample_value("greedyscope_runs_total", {"outcome": "left"}) or 0.0


async def rounds_later(counter: liveness.RoundCounter, rounds: int) -> None:
    end = counter.rounds + rounds
    while counter.rounds < end:
        await asyncio.sleep(0.01)


def page_of(engine: ScriptedEngine) -> Any:
    return application.build(ModelRegistry(lambda name, report: engine, ["scripted"]), heartbeat_seconds=0.01)


@pytest.mark.usefixtures("drives_server")
def test_a_run_that_nobody_ever_listens_to_ends_within_a_step() -> None:
    engine = ScriptedEngine(delay=600)
    gone = threading.Event()
    honest = engine.steps

    def steps(*args: object, **options: object) -> object:
        try:
            yield from honest(*args, **options)  # type: ignore[arg-type]
        finally:
            gone.set()

    engine.steps = steps  # type: ignore[method-assign, assignment]
    page = page_of(engine)
    with served(page, sessions=ONE_ROUND) as url:
        try:
            body = {"data": ["a", 50, 2, "scripted"]}
            httpx.post(f"{url}gradio_api/call/greedy", json=body, timeout=60).raise_for_status()
            assert engine.began.wait(300)
            # until it is given up, and nothing more is sent
            while not left(page):
                assert liveness.counter_of(page).rounds < 300, "it goes on, and nobody listens"
                threading.Event().wait(0.01)
        finally:
            engine.let_go.set()
        assert gone.wait(300)
        assert engine.begun <= 2


@pytest.mark.usefixtures("drives_server")
@pytest.mark.parametrize("session", ["", "a-session"])
def test_a_late_answer_to_who_began_a_run_does_not_end_it(session: str) -> None:
    """Whoever names no session learns from the answer alone which stream to ask for."""
    engine = ScriptedEngine(delay=600)
    page = page_of(engine)
    with served(page, sessions=PATIENCE) as url:
        queue: Any = page._queue  # Gradio makes a queue anew at launch
        push = queue.push

        async def late(**options: Any) -> Any:
            pushed = await push(**options)
            while not engine.began.is_set():
                await asyncio.sleep(0.01)
            counter = liveness.counter_of(page)
            await rounds_later(counter, 2)
            counter.rounds += 2 * PATIENCE.patience_rounds  # as if they had passed before the answer
            await rounds_later(counter, 3)
            return pushed

        queue.push = late
        try:
            body = {"data": ["a", 4, 2, "scripted"], **({"session_hash": session} if session else {})}
            begun = httpx.post(f"{url}gradio_api/call/greedy", json=body, timeout=300).raise_for_status()
            assert not left(page)
            engine.let_go.set()
            answer = httpx.get(f"{url}gradio_api/call/greedy/{begun.json()['event_id']}", timeout=300)
            assert "event: complete" in answer.text
        finally:
            engine.let_go.set()
    assert not left(page)


@pytest.mark.usefixtures("drives_server")
def test_a_page_that_was_closed_asks_no_more_for_a_server_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "RETRY_SECONDS", 0.01)
    asked = []

    def loader(name: str, report: object) -> ScriptedEngine:
        asked.append(name)
        raise AddressError("No vLLM server answers.")

    page = application.build(ModelRegistry(loader, ["scripted"]))
    (loading,) = [index for index, each in page.fns.items() if each.name == "loading"]
    with served(page, sessions=ONE_ROUND) as url:
        body = {"data": [], "fn_index": loading, "session_hash": "one"}
        httpx.post(f"{url}gradio_api/queue/join", json=body, timeout=60).raise_for_status()
        queue: Any = page._queue  # Gradio makes a queue anew at launch
        until(lambda: asked)
        until(lambda: not any(queue.active_jobs))


class Listened:
    """A page with one visitor, whose messages nobody takes."""

    def __init__(self) -> None:
        self.messages = {"one": SimpleNamespace(_queue=["a message"])}
        self._queue = SimpleNamespace(pending_messages_per_session=self.messages, pending_event_ids_session={})

    def connection_check(self, patience_rounds: int = liveness.PATIENCE_ROUNDS) -> Callable[[], bool]:
        page: Any = self
        liveness.set_patience(page, patience_rounds)
        return liveness.connection_check(page, "one")


def test_who_listens_has_taken_a_message_since() -> None:
    page: Any = Listened()
    queue = page.messages["one"]._queue
    is_listening, of_nobody = liveness.listening_check(page, "one"), liveness.listening_check(page, None)
    assert (is_listening(), of_nobody()) == (False, True)
    queue.append("another message")
    assert not is_listening()
    queue.pop(0)
    assert is_listening()
    assert not liveness.listening_check(page, "one")()  # of a later event
    queue.clear()
    assert is_listening()
    assert liveness.listening_check(page, "one")()


def test_patience_is_counted_in_rounds_of_the_event_loop() -> None:
    """A loop that is busy opens no stream. On a server that had just begun, 59 of 96 visitors who had asked for theirs
    lost their places after seven seconds.
    """

    async def test() -> None:
        page, loop = Listened(), asyncio.get_running_loop()
        is_connected = page.connection_check()
        assert is_connected()
        began = loop.time()
        for _ in range(5):  # a crowd's work, long rounds
            time.sleep(2 * liveness.ROUND_SECONDS)
            await asyncio.sleep(0)
            assert is_connected()
        busy = loop.time() - began
        while is_connected():
            await asyncio.sleep(liveness.ROUND_SECONDS / 2)
        least = (liveness.PATIENCE_ROUNDS - 5) * liveness.ROUND_SECONDS
        assert loop.time() - began >= busy + least

        page.messages["one"]._queue.pop()  # a stream has taken it: each message is taken at once from here on
        assert is_connected()
        del page.messages["one"]
        assert not is_connected()

    with ThreadPoolExecutor(1) as elsewhere:  # this thread may have a browser's event loop
        elsewhere.submit(asyncio.run, test()).result(120)


def test_nothing_is_counted_when_nobody_is_there() -> None:
    async def test() -> None:
        page = Listened()
        counter = liveness.RoundCounter(page)  # type: ignore[arg-type]
        counter.start()
        counter.start()
        page.messages.clear()
        await asyncio.sleep(5 * liveness.ROUND_SECONDS)
        assert counter.rounds == 1
        page.messages["one"] = SimpleNamespace(_queue=[])
        counter.start()
        await asyncio.sleep(5 * liveness.ROUND_SECONDS)
        assert counter.rounds > 1

    with ThreadPoolExecutor(1) as elsewhere:  # this thread may have a browser's event loop
        elsewhere.submit(asyncio.run, test()).result(120)


@pytest.mark.parametrize(
    ("asked", "query", "name"),
    [
        ("queue/data", b"session_hash=one", "one"),
        ("call/greedy/an-event", b"", "an-event"),
        ("call/v2/greedy/an-event", b"", "an-event"),
        ("queue/data", b"", ""),
        ("heartbeat/one", b"", ""),
    ],
)
def test_a_stream_is_asked_for_by_session_or_event(asked: str, query: bytes, name: str) -> None:
    assert liveness.stream_asked_for(asked, query) == name


@pytest.mark.parametrize(("name", "is_theirs"), [("one", True), ("an-event", True), ("other", False), ("", False)])
def test_who_waits_for_a_response_is_there(name: str, is_theirs: bool) -> None:
    """Without the answer to the first request a browser cannot send the second."""
    sent: list[str] = []

    async def send(message: Any) -> None:
        sent.append(message["type"])

    async def test() -> None:
        page = Listened()
        page._queue.pending_event_ids_session["one"] = {"an-event"}
        is_connected = page.connection_check(patience_rounds=0)
        assert is_connected()
        assert not is_connected()
        with liveness.unanswered(name, send) as told:
            assert is_connected() is is_theirs
            await told({"type": "http.response.start"})
            assert not is_connected()
            await told({"type": "http.response.body"})
        assert sent == ["http.response.start", "http.response.body"]
        with liveness.unanswered(name, send):
            assert is_connected() is is_theirs
        assert not is_connected()
        assert not liveness._unanswered

    with ThreadPoolExecutor(1) as elsewhere:  # this thread may have a browser's event loop
        elsewhere.submit(asyncio.run, test()).result(120)
