"""A stranger's requests to the running page, which no browser would send: each is refused, and the page goes on."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import gradio as gr
import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import app as application
from decoding import assets
from decoding.page.gradio_compat.sessions import SessionLimits
from decoding.record.trace import Trace
from decoding.serving.admission import MAX_PER_SESSION, MAX_SECONDS, MAX_SERVED, MAX_WAITING, AdmissionQueue
from tests.browser import served
from tests.fakes import ScriptedEngine

# Gradio leaves event loops behind it, unclosed, whenever a page is built; here enough happens that they are collected.
pytestmark = pytest.mark.filterwarnings(
    "ignore:unclosed:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)

ROOT = Path(__file__).resolve().parents[3]
SECRET = "a visitor's own words"
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def client(drives_server: None) -> Iterator[httpx.Client]:
    page = application.build_app(lambda name, report: ScriptedEngine(), ["scripted"])
    with served(page) as url, httpx.Client(base_url=url, timeout=300) as client:
        yield client


def lives(client: httpx.Client) -> None:
    """A run goes through, whatever was sent before."""
    event = client.post("/gradio_api/call/greedy", json={"data": ["Transformers are the", 3, 2, "scripted"]}).json()
    answer = client.get(f"/gradio_api/call/greedy/{event['event_id']}").text
    last = next(line for line in reversed(answer.splitlines()) if line.startswith("data:") and line != "data: null")
    assert len(Trace.from_jsonl(json.loads(last[5:])[0]).steps) == 3


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


def test_of_all_files_only_the_script_is_served(client: httpx.Client):
    script = assets.plotly_js()
    assert client.get(f"/gradio_api/file={script.as_posix()}").status_code == 200
    for path in (script.parent, script.parent / "__init__.py", f"{script.as_posix()}/../../__init__.py", __file__):
        assert client.get(f"/gradio_api/file={path}").status_code in (403, 404)
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


@pytest.mark.parametrize(("address", "size"), [("queue/join", 12 * 2**20), ("call/greedy", 2**20), ("reset", 2**20)])
def test_large_bodies_are_not_read(client: httpx.Client, address: str, size: int):
    def slowly() -> Iterator[bytes]:
        for _ in range(size // 2**16 + 1):
            yield b" " * 2**16

    answer = client.post(f"/gradio_api/{address}", content=slowly())
    assert answer.status_code == 413
    assert answer.text == f"The request is larger than {size:,} bytes; no larger one is read here."
    lives(client)


def event(**changes: object) -> dict[str, object]:
    return {"data": [SECRET, 3, 2, "scripted", False, False], "fn_index": 1, "session_hash": "a"} | changes


BROKEN = {
    "no JSON": (b"{", 400),
    "deep": (b'{"data":' + b"[" * 10_000 + b"]" * 10_000 + b"}", 400),
    "deep and large": (b'{"data":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 413),
    "half a character": (b'{"data":["\xff"]}', 400),
    "a list": (b"[]", 422),
    "no such event": (json.dumps(event(fn_index=9999)).encode(), 404),
    "below zero": (json.dumps(event(fn_index=-1)).encode(), 404),
    "true": (json.dumps(event(fn_index=True)).encode(), 404),
    "only in the browser": (json.dumps(event(fn_index=0)).encode(), 404),
    "too few values": (json.dumps(event(data=[SECRET])).encode(), 422),
    "too many values": (json.dumps(event(data=[SECRET] * 7)).encode(), 422),
    "a model that is not on the list": (json.dumps(event(data=["a", 3, 2, SECRET, False, False])).encode(), 422),
    "a value that is a list": (json.dumps(event(data=[[SECRET], 3, 2, "scripted", False, False])).encode(), 422),
    "a long session": (json.dumps(event(session_hash="a" * 200)).encode(), 422),
    "a session that is none": (json.dumps(event(session_hash={})).encode(), 422),
}


@pytest.mark.parametrize(("body", "status"), BROKEN.values(), ids=BROKEN.keys())
def test_an_event_that_is_none_is_refused_with_a_sentence(
    client: httpx.Client, capfd: pytest.CaptureFixture[str], body: bytes, status: int
):
    answer = client.post("/gradio_api/queue/join", content=body, headers=JSON)
    assert answer.status_code == status
    assert answer.text.endswith(".")
    lives(client)
    assert SECRET not in "".join(capfd.readouterr())


NUMBERLESS = ("Infinity", "-Infinity", "NaN", "1e999", "-1E400")
NAMED = {"session_hash": "a", "fn_index": 1, "event_id": "b"}
ADDRESSES = ("queue/join", "call/greedy", "call/v2/branch", "run/predict", "cancel", "reset", "startup-events")


@pytest.mark.parametrize("address", ADDRESSES)
def test_no_address_reads_what_json_cannot_say(client: httpx.Client, address: str):
    """What FastAPI would repeat in its answer, and fail over."""
    whole = json.dumps(event() | NAMED)
    for bad in (*NUMBERLESS, "[" * 40 + "]" * 40, '{"a":' * 30 + "0" + "}" * 30, "9" * 5000):
        for body in (bad, f"[{bad}]", f'{{"data": {bad}}}', whole[:-1] + f', "event_data": {bad}}}'):
            answer = client.post(f"/gradio_api/{address}", content=body, headers=JSON)
            assert (answer.status_code, answer.text[-1]) == (400, "."), (body[:80], answer.text)


@pytest.mark.parametrize("name", ["event_data", "trigger_id", "event_id", "batched", "simple_format", "oauth_token"])
def test_no_field_that_cannot_be_read_is_repeated(client: httpx.Client, name: str):
    for bad in ("\ud800", SECRET + "\udfff", {"\ud800": 1}, [SECRET], 2**70, 1.5):
        answer = client.post("/gradio_api/queue/join", content=json.dumps(event() | {name: bad}), headers=JSON)
        assert answer.status_code < 500
        assert SECRET not in answer.text


@pytest.mark.parametrize("address", ["cancel", "reset"])
def test_what_ends_a_run_says_which(client: httpx.Client, address: str):
    def answered(body: object) -> tuple[int, str]:
        answer = client.post(f"/gradio_api/{address}", content=json.dumps(body), headers=JSON)
        return answer.status_code, answer.text

    assert answered(NAMED) == (200, '{"success":true}')
    bad: list[object] = [[], None, "a", 1, {}]
    bad += [NAMED | {"event_id": value} for value in ({}, [], None, 1, "a" * 129, "\ud800", "a\x00", "\u202e")]
    if address == "cancel":
        bad += [NAMED | {"fn_index": value} for value in ("1", 1.5, True, None, [])]
        bad += [NAMED | {"session_hash": value} for value in ({}, None, "a" * 129, "\udfff")]
    names = "session_hash, fn_index, event_id" if address == "cancel" else "event_id"
    for body in bad:
        assert answered(body) == (422, f"What ends a run is an object that says which: {names}."), body


def test_an_event_number_of_any_type_is_refused(client: httpx.Client):
    for number in ([], {}, "1", 1.5, None):
        assert client.post("/gradio_api/run/predict", json=event(fn_index=number)).status_code == 404


def test_an_endpoint_that_is_none_is_refused(client: httpx.Client):
    for name in ("nope", "run", "ask", "v2/nope", "keep/"):  # the last is no file to keep
        answer = client.post(f"/gradio_api/call/{name}", json={"data": []})
        assert (answer.status_code, answer.text) == (404, "There is no such event here.")


def test_what_needs_the_model_cannot_skip_the_queue(client: httpx.Client):
    queued = [d["id"] for d in client.get("/config").json()["dependencies"] if d["backend_fn"] and d["queue"]]
    assert len(queued) > 5
    for number in queued:
        assert client.post("/gradio_api/run/predict", json=event(fn_index=number)).status_code == 404


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.text(st.characters(), max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
events = st.fixed_dictionaries(
    {},
    optional={
        "data": json_values,
        "fn_index": json_values | st.integers(-2, 40),
        "session_hash": json_values,
        "event_data": json_values,
        "trigger_id": json_values,
        "event_id": json_values,
        "batched": json_values,
        "simple_format": json_values,
        "oauth_token": json_values,
    },
)


@settings(derandomize=True, max_examples=150)
@given(
    address=st.sampled_from(
        ["queue/join", "call/greedy", "call/branch", "call/v2/branch", "run/predict", "cancel", "reset"]
    ),
    body=events,
)
def test_whatever_is_sent_no_answer_is_a_fault_of_ours(client: httpx.Client, address: str, body: dict[str, object]):
    answer = client.post(f"/gradio_api/{address}", content=json.dumps(body), headers=JSON)
    assert answer.status_code < 500, (answer.status_code, answer.text)
    assert "Traceback" not in answer.text


class Asking:
    """A stranger who asks for more and more runs of a page, none of which ends."""

    def __init__(self, page: gr.Blocks, client: httpx.Client) -> None:
        self.queue: AdmissionQueue = page.health.queue  # type: ignore[attr-defined]
        self.client, self.elsewhere = client, ThreadPoolExecutor(1)

    def ask(self, session: str | None, **headers: str) -> str:
        body = {"data": ["a", 3, 2, "scripted"]} | ({"session_hash": session} if session else {})
        return str(self.client.post("/gradio_api/call/greedy", json=body, headers=headers).json()["event_id"])

    def is_told(self, sentence: str, address: str, *, most: int) -> None:
        """A stream of events has a sentence in it, while no more than so many places are taken."""

        def read() -> bool:
            with self.client.stream("GET", f"/gradio_api/{address}") as events:
                return any(sentence in line for line in events.iter_lines())

        reading = self.elsewhere.submit(read)
        while not reading.done():
            taken = self.queue.served + self.queue.waiting
            assert taken <= most, f"{taken} places are taken, and {most} should be"
            wait([reading], 0.05)
        assert reading.result(), f"nobody said: {sentence}"


@pytest.mark.usefixtures("drives_server")
def test_one_session_cannot_fill_the_line_nor_one_address() -> None:
    engine = ScriptedEngine(delay=600)
    page = application.build_app(lambda name, report: engine, ["scripted"])
    patience = SessionLimits(patience_rounds=6_000)  # nobody listens to them, and they keep their places
    with served(page, sessions=patience) as url, httpx.Client(base_url=url, timeout=300) as client:
        they = Asking(page, client)
        try:
            for _ in range(MAX_PER_SESSION):
                they.ask("one")
            fifth = they.ask("one")  # whose stream has all of the session's events
            they.is_told(
                "This page has 4 runs under way or waiting, and no page", f"call/greedy/{fifth}", most=MAX_PER_SESSION
            )
            wired = client.get("/config").json()["dependencies"]
            run = next(one["id"] for one in wired if one["backend_fn"] and "submit" in str(one["targets"]))
            for _ in range(MAX_PER_SESSION + 1):  # the page's own Run, again and again
                body = {"data": ["a", 3, 2, "scripted", False, False], "fn_index": run, "session_hash": "two"}
                client.post("/gradio_api/queue/join", json=body).raise_for_status()
            they.is_told("This page has 4 runs", "queue/data?session_hash=two", most=2 * MAX_PER_SESSION)
            half, most = (
                {"x-forwarded-for": "8.8.8.8"},
                (MAX_SERVED + MAX_WAITING) // 2,
            )  # as a proxy on the same machine says it
            for _ in range(most):
                they.ask(None, **half)
            next_one = f"call/greedy/{they.ask(None, **half)}"
            they.is_told("48 runs from your network's address are under way", next_one, most=2 * MAX_PER_SESSION + most)
            engine.let_go.set()
            lives(client)
        finally:
            engine.let_go.set()


def test_what_nobody_has_set_is_set_the_safe_way(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("GREEDYSCOPE_", "GRADIO_"))]:
        monkeypatch.delenv(name)
    chosen = application.settings([])
    assert (chosen.host, chosen.metrics, chosen.mcp, chosen.engine) == ("127.0.0.1", "off", "off", "auto")
    assert (int(chosen.runs), int(chosen.waiting), float(chosen.seconds)) == (MAX_SERVED, MAX_WAITING, MAX_SECONDS)
    page = application.build_app(lambda name, report: ScriptedEngine(), ["scripted"])
    launched: dict[str, object] = {}
    monkeypatch.setattr(page, "launch", lambda **options: launched.update(options) or (None, "", None))
    application.launch(page)
    assert page._queue.max_size == application.MAX_EVENTS
    assert page.api_open is False
    for name in ("share", "run_history", "enable_monitoring", "mcp_server", "ssr_mode"):
        assert launched[name] is False, name
    told = [sys.executable, "-c", "import app, os; print(os.environ['GRADIO_ANALYTICS_ENABLED'])"]
    assert subprocess.run(told, cwd=ROOT, env=os.environ, capture_output=True, check=True).stdout == b"False\n"


def test_the_operators_limits_are_the_lines(monkeypatch: pytest.MonkeyPatch):
    built: list[gr.Blocks] = []

    def launch(page: gr.Blocks, **_: object) -> str:
        built.append(page)
        raise InterruptedError

    monkeypatch.setattr(application, "launch", launch)
    monkeypatch.setattr(application, "limit_arenas", lambda: False)
    monkeypatch.setattr(sys, "setswitchinterval", lambda _: None)  # this process keeps its own
    monkeypatch.setattr(sys, "argv", ["app.py", "--runs=3", "--waiting=5", "--seconds=7", "--port=0"])
    with pytest.raises(InterruptedError):
        application.main()
    queue = built[0].health.queue  # type: ignore[attr-defined]
    assert (queue.runs, queue.max_waiting, queue.seconds) == (3, 5, 7)


def test_after_all_that_the_page_still_runs(client: httpx.Client):
    lives(client)
