"""What must always answer, while what may be slow is as slow as it can be."""

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import anyio
import gradio as gr
import httpx
import pytest
from anyio import to_thread
from starlette.applications import Starlette

import app as application
import decoding
from decoding.page.http import export_routes, thread_pool
from decoding.page.http.metrics import Health
from decoding.page.http.request_body import RefusedError
from decoding.page.http.thread_pool import WorkerPool
from decoding.serving.admission import AdmissionQueue
from decoding.serving.model_registry import ModelOffer, ModelRegistry
from tests.browser import served
from tests.fakes import ScriptedEngine
from tests.waiting import until

RUN = decoding.trace(ScriptedEngine(), "a", max_new_tokens=3, top_k=2).to_jsonl().encode()


class Slow:
    """Reading a run takes until `go`, and so does a look at the list of models."""

    def __init__(self) -> None:
        self.go, self.begun = threading.Event(), 0

    def read_run(self, data: bytes) -> decoding.Trace:
        self.begun += 1
        assert self.go.wait(600)
        return decoding.Trace.from_jsonl(data.decode())

    def look(self, ready: object) -> list[ModelOffer]:
        assert self.go.wait(600)
        return [ModelOffer("scripted", "scripted")]


@pytest.fixture
def slow(drives_server: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Slow, gr.Blocks]]:
    slow = Slow()
    monkeypatch.setattr(export_routes, "read_run", slow.read_run)
    page = application.build_app(lambda name, report: ScriptedEngine(), ["scripted"], slow.look)
    with served(page):
        try:
            yield slow, page
        finally:
            slow.go.set()


def serves(url: str) -> None:
    """The page, its configuration, a file, health and a run, each within seconds."""
    with httpx.Client(base_url=url, transport=httpx.HTTPTransport(local_address="127.0.0.2"), timeout=20) as client:
        for path in ("/", "/config", "/theme.css", "/healthz", "/gradio_api/info"):
            assert client.get(path).status_code == 200, path
        event = client.post("/gradio_api/call/greedy", json={"data": ["a", 1, 2, "scripted"]}).json()["event_id"]
        assert "complete" in client.get(f"/gradio_api/call/greedy/{event}").text
        assert client.get("/readyz").status_code == 200


def test_slow_exports_hold_nothing_that_others_need(slow: tuple[Slow, gr.Blocks]) -> None:
    work, page = slow
    url: str = page.local_url
    with ThreadPoolExecutor(60) as crowd:

        def export(n: int) -> int:
            address = f"127.0.0.{n % 6 + 10}"
            with httpx.Client(transport=httpx.HTTPTransport(local_address=address), timeout=300) as client:
                return client.post(f"{url}keep/csv", content=RUN).status_code

        exports = [crowd.submit(export, n) for n in range(60)]
        until(lambda: sum(one.done() for one in exports) == 60 - thread_pool.MAX_WAITING)
        serves(url)
        assert work.begun == thread_pool.MAX_RUNNING
        work.go.set()
        assert sorted(one.result() for one in exports) == [200] * thread_pool.MAX_WAITING + [503] * (
            60 - thread_pool.MAX_WAITING
        )


def test_who_leaves_before_their_turn_is_not_worked_for(slow: tuple[Slow, gr.Blocks]) -> None:
    work, page = slow
    url: str = page.local_url
    there = httpx.URL(url)
    left, connections = [], page.server.config.http.open_connections  # type: ignore[union-attr]
    for n in range(20):
        one = socket.create_connection((there.host, there.port), 60, (f"127.0.0.{n % 4 + 10}", 0))
        one.sendall(b"POST /keep/csv HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % len(RUN) + RUN)
        left.append(one)
    until(lambda: work.begun == thread_pool.MAX_RUNNING)
    for one in left:
        one.close()
    until(lambda: not any(connections.held_by(f"127.0.0.{n + 10}") for n in range(4)))
    assert httpx.get(f"{url}healthz", timeout=60).status_code == 200  # after the server has told each of its requests
    work.go.set()
    serves(url)
    assert httpx.post(f"{url}keep/csv", content=RUN, timeout=60).status_code == 200
    assert work.begun == thread_pool.MAX_RUNNING + 1


def test_a_slow_look_at_the_models_holds_nothing_that_others_need(slow: tuple[Slow, gr.Blocks]) -> None:
    work, page = slow
    url: str = page.local_url
    wired = httpx.get(f"{url}config", timeout=60).json()["dependencies"]
    look = next(one["id"] for one in wired if one["backend_fn"] and not one["queue"] and len(one["outputs"]) == 1)
    looking = {thread for thread in threading.enumerate() if "look" in thread.name}  # of other tests' pages
    with ThreadPoolExecutor(80) as crowd:
        asked = [
            crowd.submit(
                httpx.post,
                f"{url}gradio_api/run/predict",
                json={"data": [], "fn_index": look, "session_hash": f"s{n}"},
                timeout=300,
            )
            for n in range(60)
        ]
        until(lambda: page.server.config.http.open_connections.held_by(None) >= 60)  # type: ignore[union-attr]
        before = threading.active_count()
        serves(url)
        assert sum("look" in thread.name for thread in {*threading.enumerate()} - looking) <= 2
        assert before < 200
        work.go.set()
        assert {one.result().status_code for one in asked} == {200}


def test_not_ready_where_the_page_cannot_be_served() -> None:
    registry, queue = ModelRegistry(lambda name, report: ScriptedEngine(), ["scripted"]), AdmissionQueue()
    ready = Starlette(routes=Health(registry, queue, served_seconds=2.0).routes(metrics=False))

    async def asked() -> tuple[int, str]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(ready), base_url="http://a") as client:
            answer = await client.get("/readyz")
            assert (await client.get("/healthz")).status_code == 200
            return answer.status_code, answer.text

    async def test() -> None:
        assert await asked() == (503, "No model is loaded yet.\n")
        await to_thread.run_sync(registry.engine, "scripted")
        assert await asked() == (200, "ready\n")
        threads = to_thread.current_default_thread_limiter()
        holders = [object() for _ in range(int(threads.total_tokens))]
        for holder in holders:
            await threads.acquire_on_behalf_of(holder)
        assert await asked() == (503, "No thread is free to serve the page.\n")
        for holder in holders:
            threads.release_on_behalf_of(holder)
        assert await asked() == (200, "ready\n")
        queue.close(0)
        assert await asked() == (503, "The server is being restarted.\n")

    with ThreadPoolExecutor(1) as elsewhere:  # this thread may have a browser's event loop
        elsewhere.submit(anyio.run, test).result(120)


def test_a_pool_has_its_limits() -> None:
    go = threading.Event()

    async def test() -> None:
        pool = WorkerPool(waiting=5, per_address=3)
        done: list[bool] = []

        async def one(address: str | None) -> None:
            done.append(await pool.run(lambda: go.wait(60), address, anyio.sleep_forever))

        async with anyio.create_task_group() as group:
            for address in ("a", "a", "a", "b"):
                group.start_soon(one, address)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(RefusedError, match="Too many files"):
                await pool.run(lambda: True, "a", anyio.sleep_forever)
            group.start_soon(one, None)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(RefusedError, match="Too many files"):
                await pool.run(lambda: True, "c", anyio.sleep_forever)
            go.set()
        assert done == [True] * 5
        assert await pool.run(lambda: 7, "a", anyio.sleep_forever) == 7

    with ThreadPoolExecutor(1) as elsewhere:  # this thread may have a browser's event loop
        elsewhere.submit(anyio.run, test).result(120)
