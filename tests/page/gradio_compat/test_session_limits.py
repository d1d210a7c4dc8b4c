"""Gradio's queue under one who floods it and those who never come for their answers, on the real page."""

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import gradio as gr
import httpx
import pytest

import app as application
import decoding
from decoding.page.gradio_compat import session_limits
from decoding.page.gradio_compat.session_limits import SessionLimits, SessionQueues, size_of
from decoding.page.http.request_body import BODY_BYTES
from decoding.record.trace import Trace
from tests.browser import served
from tests.fakes import ScriptedEngine
from tests.waiting import until

RUN = decoding.trace(ScriptedEngine(), "a", max_new_tokens=3, top_k=2).to_jsonl()


class There:
    """A page over an engine that waits, and visitors of several addresses."""

    def __init__(self, page: gr.Blocks, url: str, engine: ScriptedEngine) -> None:
        self.page, self.url, self.engine = page, url, engine
        self.queue: Any = page._queue

    def visitor(self, address: str) -> httpx.Client:
        return httpx.Client(base_url=self.url, transport=httpx.HTTPTransport(local_address=address), timeout=120)


@contextmanager
def serving(**limits: Any) -> Iterator[There]:
    """A page with these limits, where nobody has to listen."""
    engine = ScriptedEngine(delay=600)
    page = application.build_app(lambda name, report: engine, ["scripted"])
    with served(page, sessions=SessionLimits(patience_rounds=6_000, **limits)) as url:
        try:
            yield There(page, url, engine)
        finally:
            engine.let_go.set()


@pytest.fixture
def there(drives_server: None) -> Iterator[There]:
    with serving() as there:
        yield there


def ask(client: httpx.Client, endpoint: str, *data: object, session: str | None = None) -> httpx.Response:
    body = {"data": data} | ({"session_hash": session} if session else {})
    return client.post(f"/gradio_api/call/{endpoint}", json=body)


@pytest.mark.usefixtures("drives_server")
def test_a_flood_of_checks_ends_nobody_elses_run() -> None:
    with serving(sessions=40) as there, there.visitor("127.0.0.2") as victim, there.visitor("127.0.0.9") as stranger:
        finished = ask(victim, "check", RUN).json()["event_id"]
        running = ask(victim, "greedy", "a", 3, 2, "scripted").json()["event_id"]
        assert there.engine.began.wait(60)
        for _ in range(120):
            ask(stranger, "check", "rubbish")
        there.engine.let_go.set()
        for event, endpoint, words in ((running, "greedy", "complete"), (finished, "check", "A well-formed run")):
            answer = victim.get(f"/gradio_api/call/{endpoint}/{event}").text
            assert words in answer, answer
        assert len(there.queue.pending_messages_per_session) <= 40


@pytest.mark.usefixtures("drives_server")
def test_an_answer_that_nobody_fetches_is_dropped() -> None:
    held = BODY_BYTES.total  # by what a server of another test still computes
    seconds = {"unread_seconds": 3.0, "sweep_seconds": 0.1}  # a busy machine may take one to pass an answer on
    with serving(**seconds) as there, there.visitor("127.0.0.9") as stranger:
        for _ in range(5):
            ask(stranger, "export", RUN, "html")
        running = ask(stranger, "greedy", "a", 3, 2, "scripted").json()["event_id"]
        until(lambda: len(there.queue.pending_messages_per_session) == 1)  # what still runs
        with stranger.stream("GET", f"/gradio_api/call/greedy/{running}") as answer:
            there.engine.let_go.set()  # once it is listened to
            assert "complete" in answer.read().decode()
        until(lambda: not there.queue.pending_messages_per_session)
        assert not there.queue.pending_event_ids_session
        until(lambda: not there.queue.event_ids_to_events, "an event is kept")
        until(lambda: BODY_BYTES.total <= held, "a body is held")


@pytest.mark.usefixtures("drives_server")
def test_answers_that_nobody_fetches_have_a_total() -> None:
    with serving(unread_bytes=1_500_000, sweep_seconds=0.1) as there, there.visitor("127.0.0.9") as stranger:
        for _ in range(12):  # one address has eight under way
            until(lambda: ask(stranger, "export", RUN, "html").status_code == 200)
        until(lambda: not there.queue.event_ids_to_events)

        def unread() -> list[int]:
            return [answers.unread for answers in there.queue.pending_messages_per_session.values()]

        until(lambda: sum(unread()) <= 1_500_000)
        assert 12 * max(unread()) > 1_500_000  # all together would be more
        assert 0 < len(unread()) < 12


def test_large_files_are_not_written_over_the_queue(there: There) -> None:
    with there.visitor("127.0.0.9") as stranger:
        event = ask(stranger, "export", RUN, "html-plotly").json()["event_id"]
        told = stranger.get(f"/gradio_api/call/export/{event}").text
        assert "POST the run to /keep/html-plotly" in told
        assert len(stranger.post("/keep/html-plotly", content=RUN).content) > 4_000_000
        long = Trace.from_jsonl(RUN).to_jsonl().replace('"prompt":"a"', json.dumps({"prompt": "a" * 10})[1:-1])
        assert "event_id" in ask(stranger, "export", long, "csv").json()


@pytest.mark.usefixtures("drives_server")
def test_one_address_has_a_share_of_the_queue() -> None:
    with (
        serving(events_per_address=3) as there,
        there.visitor("127.0.0.9") as stranger,
        there.visitor("127.0.0.2") as other,
    ):
        asked = [ask(stranger, "greedy", "a", 3, 2, "scripted") for _ in range(5)]
        assert [answer.status_code for answer in asked] == [200] * 3 + [503] * 2
        assert (
            asked[-1]
            .json()["detail"]
            .startswith("The server already handles as many requests from your network's address")
        )
        assert ask(other, "greedy", "a", 3, 2, "scripted").status_code == 200


def test_what_an_event_brings_is_counted_until_it_ends(there: There) -> None:
    with there.visitor("127.0.0.9") as stranger:
        before = BODY_BYTES.total
        event = ask(stranger, "greedy", "a" * 900, 3, 2, "scripted").json()["event_id"]
        assert there.engine.began.wait(60)
        assert 900 <= BODY_BYTES.total - before < 1_000
        there.engine.let_go.set()
        stranger.get(f"/gradio_api/call/greedy/{event}")
        until(lambda: BODY_BYTES.total == before)


def test_gradio_keeps_no_table_of_all_events(there: There) -> None:
    with there.visitor("127.0.0.9") as stranger:
        for _ in range(5):
            ask(stranger, "check", "rubbish")
        until(lambda: not there.queue.event_ids_to_events)
    assert len(there.queue.event_analytics) <= 1


def test_gradio_keeps_no_values_of_a_session(there: There) -> None:
    secret = "what a visitor wrote " * 1_000
    there.engine.let_go.set()
    with there.visitor("127.0.0.9") as stranger:
        event = ask(stranger, "check", secret, session="s").json()["event_id"]
        stranger.get(f"/gradio_api/call/check/{event}")
        event = ask(stranger, "greedy", "a" * 900, 3, 2, "scripted", session="s").json()["event_id"]
        assert "complete" in stranger.get(f"/gradio_api/call/greedy/{event}").text
    state = there.page.state_holder.session_data["s"]
    kept = [config["props"].get("value") for config in state.config_values.values() if config]
    assert max(len(str(value)) for value in kept) < 100_000  # the recorded run that every page begins with
    assert secret not in kept
    assert not [value for value in kept if "a" * 900 in str(value)]


# ---- the store alone


def test_the_first_to_go_is_the_oldest_idle_one_of_whoever_has_most() -> None:
    dropped: list[str] = []
    busy = {"mine", "theirs 0"}

    async def test() -> None:
        store = SessionQueues(busy.__contains__, dropped.append, SessionLimits(sessions=6))
        for session, address in [("mine", "a"), ("mine too", "a"), *((f"theirs {n}", "b") for n in range(4))]:
            session_limits._asking.set(address)
            store[session] = None
        session_limits._asking.set("c")
        store["a third's"] = None
        assert dropped == ["theirs 1"]
        reading = asyncio.create_task(store["theirs 2"].get())
        await asyncio.sleep(0)
        store["a fourth's"] = None
        assert dropped == ["theirs 1", "theirs 3"]  # what somebody waits for stays
        reading.cancel()
        del store["nobody's"]  # a stream that ends after its session was dropped

    with ThreadPoolExecutor(1) as elsewhere:  # this thread may have a browser's event loop
        elsewhere.submit(asyncio.run, test()).result(60)


def test_the_size_of_a_message() -> None:
    assert size_of({"data": ["abc", {"value": "de"}, 1, None, [["replace", [], "f"]]]}) == 3 + 2 + 8 + 8 + 7 + 0 + 1
