"""A run whose visitor went before opening the stream of events: Gradio never misses them, so the page does."""

import threading

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
    engine = ScriptedEngine(delay=60)
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
        httpx.post(f"{url}gradio_api/call/greedy", json={"data": ["a", 50, 2, "scripted"]}).raise_for_status()
        assert engine.began.wait(20)
        health = page.health  # type: ignore[attr-defined]
        for _ in range(3000):  # until it is given up, and nothing more is sent
            if health.registry.get_sample_value("greedyscope_runs_total", {"outcome": "done"}):
                break
            threading.Event().wait(0.01)
        else:
            pytest.fail("the run goes on, and nobody listens")
        engine.let_go.set()
        assert gone.wait(20)
        assert engine.begun <= 2
