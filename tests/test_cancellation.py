"""Whoever leaves stops the work within one step, however they leave; and a class that presses Run at once is served."""

import asyncio
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import httpx
import numpy as np
import pytest
from gradio_client import Client  # type: ignore[import-untyped]
from numpy.typing import NDArray
from playwright.sync_api import Browser, Page

import app as application
import decoding
from decoding import cancellation
from decoding.page import api
from decoding.page.gradio_endpoints import admitted
from decoding.record.step import StepScores
from decoding.serving.model_registry import ModelRegistry, Report
from tests.browser import drawn, served, tab
from tests.fakes import NOTEBOOK, ScriptedEngine
from tests.load import Server

STEPS = 200
CLASS = 30
PATIENCE = 60.0

Leave = Callable[[], None]
Start = Callable[[str, Browser], Leave]
"""Begins a run at an address, and returns what leaves it."""


class Held(ScriptedEngine):
    """Each pass takes until it is let go, and notices meanwhile that its visitor has left."""

    def __init__(self) -> None:
        super().__init__()
        self.heard_of_it, self.ended = threading.Event(), threading.Event()

    def _forward(self, unread: Sequence[int], step: int | None) -> tuple[NDArray[np.float32], int]:
        after = super()._forward(unread, step)
        while not self.let_go.wait(0.01):
            if cancellation.is_cancelled():
                self.heard_of_it.set()
        return after

    def steps(self, *args: Any, **options: Any) -> Iterator[StepScores]:
        try:
            yield from super().steps(*args, **options)
        finally:
            self.ended.set()


@pytest.fixture
def engine() -> Held:
    return Held()


@pytest.fixture
def address(engine: Held) -> Iterator[str]:
    registry = ModelRegistry(lambda name, report: engine, ["scripted"])
    with served(application.build(registry, heartbeat_seconds=0.1)) as url:
        yield url
        engine.let_go.set()


def in_a_tab(url: str, browser: Browser) -> Page:
    page = tab(browser.new_context())
    page.goto(url)
    drawn(page)
    page.fill("#prompt textarea", "a")
    page.fill("#steps input", str(STEPS))
    page.click("#run")
    return page


def tab_closed(url: str, browser: Browser) -> Leave:
    return in_a_tab(url, browser).context.close


def navigation(url: str, browser: Browser) -> Leave:
    page = in_a_tab(url, browser)
    return lambda: page.goto("about:blank") and None


def socket_killed(url: str, _: Browser) -> Leave:
    """By hand, so that the connection can be cut as a failing network does: reset, with nothing said before."""
    joined = httpx.post(f"{url}gradio_api/call/greedy", json={"data": ["a", STEPS, 2, "scripted"]}, timeout=60).json()
    address = httpx.URL(url)
    wire = socket.create_connection((address.host, address.port or 80))
    path = f"/gradio_api/call/greedy/{joined['event_id']}"
    wire.sendall(f"GET {path} HTTP/1.1\r\nHost: {address.host}:{address.port}\r\n\r\n".encode())
    assert b" 200 " in wire.recv(4096)

    def kill() -> None:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wire.close()

    return kill


def client_cancelled(url: str, _: Browser) -> Leave:
    job = Client(url, verbose=False).submit("a", STEPS, 2, "scripted", api_name="/greedy")

    def cancel() -> None:
        # The run begins before its name is back at the client, which cancels nothing without one.
        while job.communicator.event_id is None and not job.done():
            threading.Event().wait(0.01)
        job.cancel()

    return cancel


@pytest.mark.parametrize("start", [tab_closed, navigation, socket_killed, client_cancelled])
def test_leaving_stops_the_work_within_a_step(address: str, browser: Browser, engine: Held, start: Start) -> None:
    leave = start(address, browser)
    assert engine.began.wait(300)
    leave()
    assert engine.heard_of_it.wait(300)  # by the server, while the pass under way still takes its time
    before = engine.begun
    engine.let_go.set()
    assert engine.ended.wait(300)
    assert engine.begun == before
    page = httpx.get(address, timeout=60)
    assert page.status_code == 200


@pytest.mark.usefixtures("drives_server")
@pytest.mark.parametrize("name", ["score_prompt", "agreement", "recompute", "lens", "leave_one_out"])
def test_a_caller_who_leaves_while_a_model_loads_stops_its_load(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    left, loads, load_ended, call_ended = (threading.Event() for _ in range(4))

    def loader(model: str, report: Report) -> ScriptedEngine:
        loads.set()
        try:
            while not load_ended.wait(0.01):
                report("Loading", None)  # raises once nobody waits
        finally:
            load_ended.set()
        return ScriptedEngine()

    endpoints: dict[str, Any] = {}

    def keep(page: object, health: object, endpoint: Any, *, is_long: bool) -> Any:
        endpoints[endpoint.__name__] = endpoint
        return admitted(page, health, endpoint, is_long=is_long)  # type: ignore[arg-type]

    def call() -> None:
        cancellation.bind(left)
        with suppress(cancellation.WorkCancelledError):
            list(endpoints[name](decoding.trace(ScriptedEngine(), "a", max_new_tokens=1, top_k=2).to_jsonl()))
        call_ended.set()

    monkeypatch.setattr(api, "admitted", keep)
    application.build(ModelRegistry(loader, [ScriptedEngine().info.id]))
    caller = threading.Thread(target=call)
    caller.start()
    try:
        assert loads.wait(PATIENCE)
        left.set()
        assert call_ended.wait(PATIENCE)
        assert load_ended.wait(PATIENCE)
    finally:
        load_ended.set()
        caller.join()


def test_a_class_that_presses_run_at_once_is_served() -> None:
    """The page dropped 27 of 30 once, for as long as five minutes."""
    engine = ScriptedEngine(NOTEBOOK)

    async def all_at_once(server: Server) -> list[str]:
        async with server.client() as client:
            visits = await asyncio.gather(*(server.visit(client, "a" * (n + 1), 5) for n in range(CLASS)))
        assert not [visit.error for visit in visits if visit.error]
        return [visit.text for visit in visits]

    with served(application.build_app(lambda name, report: engine, ["starter"])) as url:
        texts: list[str] = []
        thread = threading.Thread(target=lambda: texts.extend(asyncio.run(all_at_once(Server(url, 0)))))
        thread.start()
        thread.join(300)
    assert len(texts) == CLASS
    for number, text in enumerate(texts):
        header, *steps, end = map(json.loads, text.splitlines())
        assert header["prompt"] == "a" * (number + 1)
        assert len(steps) == 5
        assert end["stop_reason"] == "steps"
