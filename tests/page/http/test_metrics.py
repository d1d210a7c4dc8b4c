"""What an operator sees of a page over a scripted engine, and that no visitor's text is in it."""

import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

import app as application
import decoding
from decoding.engines.batching.engine import BatchedEngine
from decoding.errors import ModelError
from decoding.messages import Message
from decoding.page import JsonLines
from decoding.page import panel_actions as actions
from decoding.page.http.metrics import Health
from decoding.serving.admission import AdmissionQueue, Visitor
from decoding.serving.model_registry import ModelRegistry
from tests.browser import served
from tests.fakes import ScriptedEngine
from tests.waiting import answer_of, until

SECRET = "nobody may read this"


@pytest.fixture(scope="module")
def url(drives_server: None) -> Iterator[str]:
    page = application.build_app(lambda name, report: ScriptedEngine(), ["scripted"])
    host = "127.0.0.1"
    port = application.free_port(host)
    yield application.launch(page, metrics=True, server_name=host, server_port=port, prevent_thread_lock=True)
    page.close(verbose=False)


def greedy(url: str, *data: object) -> str:
    """The last event of a run through the API, as any HTTP client asks for it."""
    event = httpx.post(f"{url}gradio_api/call/greedy", json={"data": data}, timeout=60).json()["event_id"]
    return httpx.get(f"{url}gradio_api/call/greedy/{event}", timeout=60).text.rsplit("event: ", 1)[1]


def numbers(url: str) -> dict[str, float]:
    lines = httpx.get(f"{url}metrics", timeout=60).text.splitlines()
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if line[0] != "#"}


@pytest.mark.usefixtures("drives_server")
def test_ready_is_said_when_a_model_is_there() -> None:
    ready = threading.Event()

    def loader(name: str, report: object) -> ScriptedEngine:
        ready.wait(600)
        return ScriptedEngine()

    page = application.build_app(loader, ["scripted"])
    with served(page) as url:
        assert httpx.get(f"{url}healthz", timeout=60).text == "alive\n"
        answer = httpx.get(f"{url}readyz", timeout=60)
        assert (answer.status_code, answer.text) == (503, "No model is loaded yet.\n")
        ready.set()
        assert greedy(url, "a", 1, 2, "scripted").startswith("complete")
        assert httpx.get(f"{url}readyz", timeout=60).status_code == 200
        assert httpx.get(f"{url}metrics", timeout=60).status_code == 404  # off by default


def test_runs_are_counted_and_logged_without_their_text(url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="decoding")
    assert greedy(url, SECRET, 4, 2, "scripted").startswith("complete")
    assert "whole number from 1 to 256, not 0" in greedy(url, SECRET, 0, 2, "scripted")
    found = numbers(url)
    assert found['greedyscope_runs_total{outcome="done"}'] == 1
    assert found['greedyscope_runs_total{outcome="refused"}'] == 1
    assert found["greedyscope_steps_total"] == 4
    assert found["greedyscope_first_bar_seconds_count"] == 1
    assert (found["greedyscope_running"], found["greedyscope_waiting"]) == (0, 0)
    lines = [json.loads(JsonLines().format(record)) for record in caplog.records if record.getMessage() == "run"]
    assert [(line["outcome"], line["steps"]) for line in lines] == [("done", 4), ("refused", 0)]
    assert [line.get("cause") for line in lines] == [None, "request.number"]
    assert all(datetime.fromisoformat(line["time"]).tzinfo for line in lines)  # a fleet's logs are put in one order
    assert SECRET not in caplog.text + "".join(map(json.dumps, lines))


class Unsteady(ScriptedEngine):
    """Its third pass fails, if it `fails`."""

    fails = False

    def _forward(self, *values: Any) -> Any:
        if self.begun == 2 and self.fails:
            raise ModelError("the server is gone")
        return super()._forward(*values)


@pytest.mark.usefixtures("drives_server")
def test_how_a_run_ended_is_told_apart(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="decoding")
    engine = Unsteady()
    page = application.build_app(lambda name, report: engine, ["scripted"])
    (greedy_index,) = [index for index, each in page.fns.items() if each.api_name == "greedy"]

    def last_line() -> dict[str, Any]:
        until(lambda: caplog.records)
        (line,) = (json.loads(JsonLines().format(record)) for record in caplog.records)
        caplog.clear()
        return {name: line.get(name) for name in ("outcome", "steps", "cause")}

    def begin(address: str) -> str:
        engine.began.clear()
        asked = {"data": ["a", 200, 2, "scripted"], "fn_index": greedy_index, "session_hash": "one"}
        return str(httpx.post(f"{address}gradio_api/queue/join", json=asked, timeout=60).json()["event_id"])

    with served(page) as address, httpx.Client(timeout=60) as client:
        stream = partial(client.stream, "GET", f"{address}gradio_api/queue/data?session_hash=one")
        engine.fails = True
        assert greedy(address, "a", 4, 2, "scripted").startswith("complete")  # the run says how it ended
        assert last_line() == {"outcome": "error", "steps": 2, "cause": "the server is gone"}
        engine.fails, engine.delay = False, 0.05
        event = begin(address)
        with stream() as lines:
            events = lines.iter_lines()  # closing it would close the connection
            assert any("index" in line for line in events)
            body = {"session_hash": "one", "fn_index": greedy_index, "event_id": event}
            client.post(f"{address}gradio_api/cancel", json=body)
            del events
        assert last_line()["outcome"] == "stopped"
        begin(address)
        with stream() as lines:
            assert any("index" in line for line in lines.iter_lines())
        assert last_line()["outcome"] == "left"
        begin(address)
        assert engine.began.wait(60)
        page.health.queue.close(0.0)  # type: ignore[attr-defined]
        ended = last_line()
        assert (ended["outcome"], ended["cause"]) == ("ended", "line.ended")


def test_a_run_of_the_page_logs_none_of_its_text(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="decoding")
    registry = ModelRegistry(lambda name, report: ScriptedEngine(), ["scripted"])
    asked = {"prompt": SECRET, "steps": 2, "choices": 2, "model": "scripted", "forced": []}
    *_, last = actions.branch(registry, asked)
    assert SECRET in last["panel"]
    assert SECRET not in caplog.text


def watched(caplog: pytest.LogCaptureFixture, *updates: str, error: Exception | None = None) -> dict[str, Any]:
    """What is logged of a request with these updates."""

    def work() -> Any:
        yield from updates
        if error:
            raise error

    async def read() -> list[str]:
        health = Health(ModelRegistry(lambda name, report: ScriptedEngine(), ["scripted"]), AdmissionQueue())
        options: Any = {"notice": str, "heartbeat": str, "visitor": Visitor("one", "an address")}
        return [update async for update in health.stream(work, **options) if update]

    caplog.set_level(logging.INFO, logger="decoding")
    caplog.clear()
    with suppress(type(error) if error else ()):
        assert answer_of(read())[-1] == updates[-1]
    return dict(caplog.records[-1].numbers)  # type: ignore[attr-defined]


@pytest.mark.parametrize("last", ["[1]", "5", "{}", '{"stop_reason":"error","message":1}', "{"])
def test_a_last_line_that_ends_no_run_fails_nothing(caplog: pytest.LogCaptureFixture, last: str) -> None:
    assert watched(caplog, "a\n", f"a\n{last}\n")["outcome"] == "done"


def test_a_cause_has_no_words_of_a_template_or_a_server(caplog: pytest.LogCaptureFixture) -> None:
    found = watched(caplog, error=ModelError(Message("chat.failed", quote=f"{SECRET}\n.")))
    assert (found["outcome"], SECRET in str(found)) == ("error", False)
    assert found["cause"].startswith("The chat template of this model cannot make a prompt of this message: ….")
    refused = Message("engine.refused", status=400, quote=SECRET)
    end = json.dumps({"stop_reason": "error", "message": refused})
    for found in (watched(caplog, error=ModelError(refused)), watched(caplog, "a\n", f"a\n{end}\n")):
        assert (found["outcome"], SECRET in str(found)) == ("error", False)
        assert found["cause"].startswith("The model's server refuses the request (400).")
        assert found["cause"].endswith("It said: …")
    assert watched(caplog, error=ModelError(Message("model.nan")))["cause"] == Message("model.nan")


@pytest.mark.usefixtures("drives_server")
def test_sessions_are_remembered_within_bounds_and_nobody_misses_theirs() -> None:
    page = application.build_app(lambda name, report: ScriptedEngine(), ["scripted"])
    with served(page, state_session_capacity=1) as url:
        for session in ("one", "two", "one"):
            run = {"data": ["a", 3, 2, "scripted"], "session_hash": session}
            event = httpx.post(f"{url}gradio_api/call/greedy", json=run, timeout=60).json()["event_id"]
            assert "event: complete" in httpx.get(f"{url}gradio_api/call/greedy/{event}", timeout=60).text
            assert list(page.state_holder.session_data) == [session]


def test_runs_that_are_served_from_another_run_are_counted(tiny_folder: Callable[[str], Path]) -> None:
    engine = BatchedEngine(decoding.load(str(tiny_folder("llama")), device="cpu"))
    registry = ModelRegistry(lambda name, report: engine, ["tiny"])
    registry.load_in_this_thread("tiny")
    health = Health(registry, AdmissionQueue())
    assert health.registry.get_sample_value("greedyscope_reused") == 0
    for _ in range(2):
        assert len(list(engine.steps([5, 6, 7], max_new_tokens=3, top_k=2))) == 3
    assert health.registry.get_sample_value("greedyscope_reused") == 1
