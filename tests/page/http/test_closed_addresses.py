"""What Gradio offers and the page does not use is closed: files, uploads, monitoring, other machines."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from decoding.plotly_script import plotly_js
from tests.page.http.strangers import SECRET, event, lives

CLOSED = (
    ("POST", "/gradio_api/upload"),
    ("GET", "/gradio_api/upload_progress?upload_id=x"),
    ("GET", "/gradio_api/dev/reload"),
    ("GET", "/gradio_api/proxy=http://127.0.0.1:1/"),
    ("GET", "/gradio_api/proxy=https://x.hf.space/"),
    ("GET", "/gradio_api/file=http://127.0.0.1:1/"),
    ("GET", "/gradio_api/file=/etc/passwd"),
    ("GET", "/gradio_api/file=app.py"),
    ("GET", "/gradio_api/file/etc/passwd"),
    ("GET", "/gradio_api/deep_link?session_hash=a"),
    ("GET", "/gradio_api/stream/a/b/0/playlist.m3u8"),
    ("POST", "/gradio_api/stream/a"),
    ("POST", "/gradio_api/component_server"),
    ("POST", "/gradio_api/process_recording"),
    ("POST", "/gradio_api/vibe-edit"),
    ("POST", "/gradio_api/run/greedy"),
    ("POST", "/gradio_api/api/greedy"),
    ("GET", "/gradio_api/custom_component/0/client/component/x"),
    ("GET", "/gradio_api/profiling/summary"),
    ("GET", "/gradio_api/openapi.json"),
    ("GET", "/openapi.json"),
    ("GET", "/docs"),
    ("GET", "/docs/"),
    ("POST", "/login"),
    ("GET", "/logout/"),
    ("GET", "/pwa_icon"),
    # Gradio's own, though it has in it what this project's begins with.
    ("GET", "/gradio_api/file=http://127.0.0.1:1/keep/"),
    ("GET", "/gradio_api/proxy=https://x.hf.space/keep/"),
    ("GET", "/gradio_api/file=/keep/%2e%2e/etc/passwd"),
    ("POST", "/gradio_api/run/keep/"),
    ("POST", "/gradio_api/stream/keep/"),
    # No disk has names so long.
    ("GET", "/assets/" + "a" * 300),
    ("GET", "/static/" + "%F0%9F%8E%89" * 70),
    ("GET", "/svelte" + "/a" * 3000),
    ("GET", "/gradio_api/startup-events/" + "a" * 300),
)


@pytest.mark.parametrize(("method", "address"), CLOSED, ids=[f"{method} {address:.50}" for method, address in CLOSED])
def test_what_the_page_does_not_use_is_closed(client: httpx.Client, method: str, address: str):
    answer = client.request(method, address, json={} if method == "POST" else None)
    assert answer.status_code == 404
    assert answer.text == "There is nothing at this address."


@pytest.mark.parametrize("address", ["queue/data?session_hash=", "call/greedy/", "call/v2/greedy/"])
def test_whoever_asks_for_what_is_not_there_cannot_fill_the_log(
    client: httpx.Client, caplog: pytest.LogCaptureFixture, address: str
):
    answer = client.get(f"/gradio_api/{address}{SECRET}")  # whole, where httpx raises for one that broke off
    assert "Traceback" not in answer.text
    assert "404" in answer.text
    assert not caplog.records
    lives(client)


def test_no_upload_is_kept(client: httpx.Client):
    assert client.post("/gradio_api/upload", files={"files": ("a.txt", b"x")}).status_code == 404


def test_no_file_of_the_disk_is_served(client: httpx.Client):
    script = plotly_js()
    for path in (script, script.parent, script.parent / "__init__.py", f"{script}/../../__init__.py", __file__):
        assert client.get(f"/gradio_api/file={path}").status_code == 404
    for path in ("/scripts/", "/scripts/plotly.js", "/scripts/..%2f..%2fapp.py", "/scripts/%2e%2e/app.py"):
        assert client.get(path).status_code == 404
    for path in ("/assets/..%2f..%2f..%2fetc/passwd", "/svelte/%2e%2e/%2e%2e/x", "/static/..%2f..%2fetc/passwd"):
        assert client.get(path).status_code in (403, 404)


def test_monitoring_is_off(client: httpx.Client):
    assert client.get("/monitoring").status_code == client.get("/monitoring/summary").status_code == 403


def test_nothing_is_kept_or_told_about_visitors(client: httpx.Client):
    config = client.get("/config").json()
    assert (config["run_history"], config["analytics_enabled"]) == (False, False)


@contextmanager
def another_machine() -> Iterator[tuple[str, list[str]]]:
    """A server's address, and what was asked of it."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        do_HEAD = do_POST = do_GET  # noqa: N815  # the library's names

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/x.png", asked
        finally:
            server.shutdown()


def test_nothing_is_asked_of_another_machine_on_a_visitors_behalf(client: httpx.Client):
    with another_machine() as (url, asked):
        file = {"path": url, "url": url, "orig_name": "x.png", "meta": {"_type": "gradio.FileData"}}
        local = file | {"path": __file__, "url": None}
        for value in (file, local, {"path": url}, {"url": url}, [file], [[file]], [url, file], {"a": file}):
            for at, address in ((0, "queue/join"), (0, "call/greedy"), (1, "call/branch"), (0, "call/check")):
                data: list[object] = ["a", [], 3, 2, "scripted"] if "branch" in address else ["a", 3, 2, "scripted"]
                data = ["a"] if "check" in address else data
                data[at] = value
                answer = client.post(f"/gradio_api/{address}", json=event(data=data))
                assert answer.status_code == 422, (address, value)
        for address in ("file=", "proxy=", "file=/", "file=file:", "stream/"):
            assert client.get(f"/gradio_api/{address}{url}").status_code == 404
            assert client.get(f"/gradio_api/{address}{url}/keep/").status_code == 404
        queued = client.post("/gradio_api/call/greedy", json={"data": [url, 1, 2, "scripted"]}).json()["event_id"]
        assert url in client.get(f"/gradio_api/call/greedy/{queued}").text  # an address is a prompt like any other
        httpx.get(url, timeout=60)
        assert asked == ["/x.png"]  # this test's own
