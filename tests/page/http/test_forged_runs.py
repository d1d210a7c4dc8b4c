"""Forged runs and words of the panel: the answer is a run or a sentence, whatever is in them. And nothing grows."""

import json
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import app as application
import decoding
from decoding.errors import GreedyscopeError
from decoding.page.http.export_routes import FORMATS, read_run, write_export
from decoding.page.panel_actions import ACTIONS
from decoding.questions.verify import recompute
from decoding.serving.model_registry import ModelRegistry
from tests.browser import served
from tests.fakes import ScriptedEngine
from tests.page.http.strangers import json_values

ENGINE = ScriptedEngine()
RUN = decoding.trace(ENGINE, "a <b>", max_new_tokens=3, top_k=3).to_jsonl()
LINES = [json.loads(line) for line in RUN.splitlines()]


def places(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value within JSON."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [way, *(place for name, inner in inside for place in places(inner, (*way, name)))]


FORGERIES = st.lists(
    st.tuples(
        st.sampled_from(places(LINES)[1:]),
        json_values | st.sampled_from([1e999, -1, 2**70, "\ud800", "\x00", "=1+1", "9" * 5000, [], {}]),
    ),
    min_size=1,
    max_size=3,
)


def forge(forgeries: list[tuple[tuple[Any, ...], Any]]) -> bytes:
    lines = json.loads(json.dumps(LINES))
    for way, value in forgeries:
        at = lines
        try:
            for name in way[:-1]:
                at = at[name]
            at[way[-1]] = deepcopy(value)  # hypothesis lends the same object again
        except (LookupError, TypeError):  # an earlier forgery took it away
            continue
    return "".join(json.dumps(line) + "\n" for line in lines).encode("utf-8", "surrogatepass")


@settings(derandomize=True, max_examples=300)
@given(forgeries=FORGERIES)
def test_a_forged_run_is_a_run_or_gets_a_sentence(forgeries: list[tuple[tuple[Any, ...], Any]]) -> None:
    try:
        trace = read_run(forge(forgeries))
        recompute(ENGINE, trace)
    except GreedyscopeError:
        return
    for form in FORMATS.keys() - {"html-plotly"}:
        write_export(form, trace)


@settings(derandomize=True, max_examples=300)
@given(
    name=st.sampled_from([*ACTIONS]),
    asked=st.fixed_dictionaries(
        {"model": st.sampled_from(["scripted", "scripted", "nope"]) | json_values},
        optional={
            "prompt": st.text(max_size=9) | json_values,
            "steps": st.integers(1, 4) | json_values,
            "choices": st.integers(1, 4) | json_values,
            "forced": st.lists(st.lists(st.integers(-1, 300), max_size=3), max_size=3) | json_values,
            "text": st.text(max_size=9) | json_values,
            "at": json_values,
            "value": json_values,
            "run": FORGERIES.map(lambda forgeries: forge(forgeries).decode("utf-8", "replace")) | json_values,
        },
    ),
)
def test_a_forged_question_is_answered_or_gets_a_sentence(name: str, asked: dict[str, Any]) -> None:
    if name == "agree":  # it needs a network; what comes before is the same for all
        asked = asked | {"prompt": None, "run": asked.get("run") if not isinstance(asked.get("run"), str) else 0}
    registry = ModelRegistry(lambda name, report: ENGINE, ["scripted"])
    with suppress(GreedyscopeError):
        for answer in ACTIONS[name](registry, asked):
            assert all(isinstance(value, str) for value in answer.values())


@pytest.mark.usefixtures("drives_server")
def test_nothing_grows() -> None:
    """Threads, open files and sessions are where they were after many requests, refused ones among them."""
    page = application.build_app(lambda name, report: ScriptedEngine(), ["scripted"])
    with served(page) as url, httpx.Client(base_url=url, timeout=60) as client:

        def ask(times: int) -> None:
            for n in range(times):
                data = ["a", 3 if n % 3 else 0, 2, "scripted"]
                event = client.post("/gradio_api/call/greedy", json={"data": data}).json()["event_id"]
                assert "event: " in client.get(f"/gradio_api/call/greedy/{event}").text

        ask(20)
        before = _count(page)
        ask(60)

        def is_as_before() -> bool:
            ask(1)  # threads that do nothing any more are let go when one is next asked for
            return all(now <= was + 3 for now, was in zip(_count(page), before, strict=True))

        _until(is_as_before, page, before)


def _count(page: Any) -> tuple[int, int, int, int]:
    files = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    queue = page._queue
    # Gradio's messages by session are at most 2,000; nothing bounds its events by session.
    return threading.active_count(), files, len(queue.pending_event_ids_session), len(queue.event_ids_to_events)


def _until(is_so: Callable[[], bool], page: Any, before: tuple[int, ...]) -> None:
    end = time.monotonic() + 120
    while not is_so():
        if time.monotonic() > end:
            pytest.fail(f"threads, files, sessions, events: {before} before, and {_count(page)} after")
        time.sleep(0.5)
