"""Forged events and endpoints' values over HTTP: nearly right, so that they come past the door, and nearly wrong.

What is asked for is answered with an update, a run, or a sentence; never with a fault of ours.
"""

import json
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import app as application
from decoding.page.panel_actions import ACTIONS
from tests.browser import served
from tests.fakes import ScriptedEngine
from tests.page.http.strangers import JSON, json_values
from tests.page.http.test_forged_runs import FORGERIES, RUN, forge

FAULTS = ("Traceback", "Something went wrong", "Internal Server Error", 'error": null', " at 0x")

any_text = st.text(max_size=9) | st.text(st.characters(), max_size=9)
words = st.one_of(any_text, json_values, st.sampled_from(["scripted", "csv", "html", "jsonl", "md", "é" * 9]))
runs = FORGERIES.map(lambda forgeries: forge(forgeries).decode("utf-8", "replace")) | st.just(RUN)
picks = st.lists(st.lists(st.integers(-1, 300), max_size=3), max_size=3)
values = words | st.integers(-1, 9) | runs | picks
panels_words = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(("model", "prompt", "steps", "choices", "forced", "text", "at", "value", "run"), values),
)


class Page:
    """The page, and what it answers to an event in words."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client
        self.config = client.get("/config").json()
        self.events = [d for d in self.config["dependencies"] if d["backend_fn"]]
        info = client.get("/gradio_api/info").json()["named_endpoints"]
        self.endpoints = {name[1:]: len(of["parameters"]) for name, of in info.items()}

    def post(self, address: str, body: object) -> httpx.Response:
        return self.client.post(f"/gradio_api/{address}", content=json.dumps(body), headers=JSON)

    def call(self, name: str, data: list[Any]) -> str:
        asked = self.post(f"call/{name}", {"data": data})
        if asked.status_code != 200:
            assert asked.status_code < 500
            return asked.text
        return self.client.get(f"/gradio_api/call/{name}/{asked.json()['event_id']}").text

    def event(self, number: int, data: list[Any], said: object) -> str:
        """An event through the queue, or directly where it skips the queue."""
        session = uuid.uuid4().hex
        body = {"fn_index": number, "data": data, "event_data": said, "session_hash": session, "trigger_id": 1}
        direct = next(d for d in self.events if d["id"] == number)["queue"] is False
        asked = self.post("run/predict" if direct else "queue/join", body)
        assert asked.status_code < 500, asked.text
        if direct or asked.status_code != 200:
            return asked.text
        told = []
        with self.client.stream("GET", f"/gradio_api/queue/data?session_hash={session}") as stream:
            for line in stream.iter_lines():
                told.append(line)
                if "process_completed" in line or "close_stream" in line:
                    break
        return "\n".join(told)


@pytest.fixture(scope="module")
def page(drives_server: None) -> Iterator[Page]:
    built = application.build_app(lambda name, report: ScriptedEngine(), ["scripted"])
    with served(built) as url, httpx.Client(base_url=url, timeout=300) as client:
        yield Page(client)


def is_sound(answer: str) -> bool:
    return not any(fault in answer for fault in FAULTS)


# These two run a model's own network, which the scripted one has not.
WITHOUT_NETWORK = ("greedy", "branch", "score", "recompute", "check", "export")


@settings(derandomize=True, max_examples=60)
@given(name=st.sampled_from(WITHOUT_NETWORK), drawn=st.lists(values, min_size=5, max_size=5))
def test_an_endpoint_answers_whatever_its_values_are(page: Page, name: str, drawn: list[Any]) -> None:
    data = drawn[: page.endpoints[name]]
    if name in ("greedy", "branch", "score"):
        data[-1] = "scripted"
    answer = page.call(name, data)
    assert is_sound(answer), answer


@settings(derandomize=True, max_examples=60)
@given(at=st.integers(0, 30), drawn=st.lists(values, min_size=9, max_size=9), said=panels_words | json_values)
def test_an_event_is_answered_whatever_it_brings(page: Page, at: int, drawn: list[Any], said: Any) -> None:
    event = page.events[at % len(page.events)]
    data = [drawn[n] for n, _ in enumerate(event["inputs"])]
    answer = page.event(event["id"], data, said)
    assert is_sound(answer), answer


@pytest.mark.parametrize("said", [None, [], "a", 1, [{"model": "scripted"}]])
def test_the_panels_words_are_an_object(page: Page, said: object) -> None:
    with_words = [event for event in page.events if event["targets"][:1] and event["targets"][0][1] in ACTIONS]
    assert len(with_words) == len(ACTIONS) + 1  # a link also fills in the fields
    for event in with_words:
        assert "This event says what is asked as an object, not as " in page.event(event["id"], [], said)
