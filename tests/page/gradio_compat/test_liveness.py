"""A run whose visitor went before opening the stream of events: Gradio never misses them, so the page does."""

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

import app as application
from decoding.page import adapter
from decoding.page.gradio_compat import liveness
from decoding.serving import stream
from tests.browser import served
from tests.fakes import ScriptedEngine

# Gradio makes event loops and leaves them open where the thread that launches a page has none; a browser's is one.
pytestmark = pytest.mark.usefixtures("browser")


def test_a_run_that_nobody_ever_listens_to_ends_within_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT_SECONDS", 0.01)
    monkeypatch.setattr(liveness, "PATIENCE_SECONDS", 0.1)
    engine = ScriptedEngine(delay=600)
    gone = threading.Event()
    honest = engine.steps

    def steps(*args: object, **options: object) -> object:
        try:
            yield from honest(*args, **options)  # type: ignore[arg-type]
        finally:
            gone.set()

    engine.steps = steps  # type: ignore[method-assign, assignment]
    page = application.build_app(lambda name, report: engine, ["scripted"])
    health = page.health  # type: ignore[attr-defined]
    looks = 0

    def connection_check(*of: Any) -> Callable[[], bool]:
        is_connected = liveness.connection_check(*of)

        def counted() -> bool:
            nonlocal looks
            looks += 1
            return is_connected()

        return counted

    monkeypatch.setattr(adapter, "connection_check", connection_check)
    with served(page) as url:
        try:
            body = {"data": ["a", 50, 2, "scripted"]}
            httpx.post(f"{url}gradio_api/call/greedy", json=body, timeout=60).raise_for_status()
            assert engine.began.wait(300)
            # until it is given up, and nothing more is sent
            while not health.registry.get_sample_value("greedyscope_runs_total", {"outcome": "left"}):
                # From one look to the next are 0.01 s at the least, and four times 0.1 s are the most that is waited.
                assert looks < 300, "it goes on, and nobody listens"
                threading.Event().wait(0.01)
        finally:
            engine.let_go.set()
        assert gone.wait(300)
        assert engine.begun <= 2


class Listened:
    """Two visitors to a page, whose messages nobody takes, and a clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(liveness, "monotonic", lambda: self.now)
        messages = {name: SimpleNamespace(_queue=["a message"]) for name in ("one", "other")}
        self._queue = SimpleNamespace(pending_messages_per_session=messages, pending_event_ids_session={})

    def connection_check(self, session: str) -> Callable[[], bool]:
        page: Any = self
        return liveness.connection_check(page, session)

    def looks(self, is_connected: Callable[[], bool], seconds: float) -> bool:
        """What the last look says, of one after each second at most, as when nothing comes from the model."""
        while seconds > 0:
            self.now += min(seconds, liveness.POLL_SECONDS)
            seconds -= liveness.POLL_SECONDS
            heard = is_connected()
        return heard


def test_whoever_is_not_heard_yet_is_given_time_while_others_keep_coming(monkeypatch: pytest.MonkeyPatch) -> None:
    page = Listened(monkeypatch)
    one = page.connection_check("one")
    assert one()
    assert page.looks(one, liveness.PATIENCE_SECONDS - 0.1)
    page.connection_check("refused")  # who gets no place is nobody who came
    other = page.connection_check("other")
    assert other()
    assert page.looks(one, 0.2)  # patience has ended, but somebody has just come
    assert page.looks(other, 0.2)
    assert not page.looks(one, liveness.PATIENCE_SECONDS)
    assert not other() or not page.looks(other, liveness.PATIENCE_SECONDS)
    for _ in range(liveness.CROWDED_FACTOR + 1):  # and no crowd makes it endless
        crowd = page.connection_check("other")
        assert crowd()
        heard = page.looks(one, liveness.PATIENCE_SECONDS - 0.1)
    assert not heard


def test_while_the_server_stands_still_nobody_loses_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can open a stream then. It was seen where models are let go, which takes a slow machine seconds, and the
    sentence that came of it was lost.
    """
    page = Listened(monkeypatch)
    one = page.connection_check("one")
    assert one()
    page.now += 20
    assert one()
    assert page.looks(one, liveness.PATIENCE_SECONDS - liveness.POLL_SECONDS - 0.1)
    assert not page.looks(one, liveness.POLL_SECONDS)
