"""A run whose visitor went before opening the stream of events: Gradio never misses them, so the page does."""

import threading
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

import app as application
from decoding.page import attend, listening
from tests.browser import served
from tests.fakes import ScriptedEngine

# Gradio makes event loops and leaves them open where the thread that launches a page has none; a browser's is one.
pytestmark = pytest.mark.usefixtures("browser")


def test_a_run_that_nobody_ever_listens_to_ends_within_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attend, "BEAT_SECONDS", 0.01)
    monkeypatch.setattr(listening, "PATIENCE_SECONDS", 0.1)
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
    with served(page) as url:
        httpx.post(
            f"{url}gradio_api/call/greedy", json={"data": ["a", 50, 2, "scripted"]}, timeout=60
        ).raise_for_status()
        assert engine.began.wait(300)
        health = page.health  # type: ignore[attr-defined]
        for _ in range(30_000):  # until it is given up, and nothing more is sent
            if health.registry.get_sample_value("greedyscope_runs_total", {"outcome": "left"}):
                break
            threading.Event().wait(0.01)
        else:
            pytest.fail("the run goes on, and nobody listens")
        engine.let_go.set()
        assert gone.wait(300)
        assert engine.begun <= 2


def test_whoever_is_not_heard_yet_is_given_time_while_others_keep_coming(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(listening, "monotonic", lambda: now)

    class Page:
        _queue = SimpleNamespace(
            pending_messages_per_session={name: SimpleNamespace(_queue=["a message"]) for name in ("one", "other")},
            pending_event_ids_session={},
        )

    page: Any = Page()
    one = listening.ears(page, "one")
    assert one()
    now += listening.PATIENCE_SECONDS - 0.1
    listening.ears(page, "refused")  # who gets no place is nobody who came
    other = listening.ears(page, "other")
    assert one()
    assert other()
    now += 0.2
    assert one()  # patience has ended, but somebody has just come
    now += listening.PATIENCE_SECONDS
    assert not one()
    assert not other()
    for _ in range(listening.IN_A_CROWD + 1):  # and no crowd makes it endless
        crowd = listening.ears(page, "other")
        assert crowd()
        now += listening.PATIENCE_SECONDS - 0.1
    assert not one()
