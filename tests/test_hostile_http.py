"""A stranger's requests to the running page, which no browser would send: each is refused, and the page goes on."""

import json
from collections.abc import Iterator

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import app as application
from decoding import assets
from decoding.page.guard import MAX_BODY_BYTES, MAX_EVENT_BYTES
from decoding.trace import Trace
from tests.browser import served
from tests.fakes import ScriptedEngine

# Gradio leaves event loops behind it, unclosed, whenever a page is built; here enough happens that they are collected.
pytestmark = pytest.mark.filterwarnings(
    "ignore:unclosed:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)

SECRET = "a visitor's own words"


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    page = application.build_app(lambda name, report: ScriptedEngine(), ["scripted"])
    with served(page) as url, httpx.Client(base_url=url, timeout=20) as client:
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
)


@pytest.mark.parametrize(("method", "address"), CLOSED)
def test_what_the_page_does_not_use_is_closed(client: httpx.Client, method: str, address: str):
    answer = client.request(method, address, json={} if method == "POST" else None)
    assert answer.status_code == 404
    assert answer.text == "There is nothing at this address."


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


@pytest.mark.parametrize(
    ("address", "size"), [("queue/join", MAX_EVENT_BYTES), ("call/greedy", MAX_BODY_BYTES), ("reset", MAX_BODY_BYTES)]
)
def test_large_bodies_are_not_read(client: httpx.Client, address: str, size: int):
    def slowly() -> Iterator[bytes]:
        for _ in range(size // 2**16 + 1):
            yield b" " * 2**16

    answer = client.post(f"/gradio_api/{address}", content=slowly())
    assert answer.status_code == 413
    assert answer.text == f"The request is larger than {size:,} bytes; no larger one is read here."
    lives(client)


def event(**changes: object) -> dict[str, object]:
    return {"data": [SECRET, 3, 2, "scripted"], "fn_index": 1, "session_hash": "a"} | changes


BROKEN = {
    "no JSON": (b"{", 400),
    "deep": (b'{"data":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400),
    "half a character": (b'{"data":["\xff"]}', 400),
    "a list": (b"[]", 422),
    "no such event": (json.dumps(event(fn_index=9999)).encode(), 404),
    "below zero": (json.dumps(event(fn_index=-1)).encode(), 404),
    "true": (json.dumps(event(fn_index=True)).encode(), 404),
    "only in the browser": (json.dumps(event(fn_index=0)).encode(), 404),
    "too few values": (json.dumps(event(data=[SECRET])).encode(), 422),
    "too many values": (json.dumps(event(data=[SECRET] * 5)).encode(), 422),
    "a value that is a list": (json.dumps(event(data=[[SECRET], 3, 2, "scripted"])).encode(), 422),
    "a long session": (json.dumps(event(session_hash="a" * 200)).encode(), 422),
    "a session that is none": (json.dumps(event(session_hash={})).encode(), 422),
}


@pytest.mark.parametrize(("body", "status"), BROKEN.values(), ids=BROKEN.keys())
def test_an_event_that_is_none_is_refused_with_a_sentence(
    client: httpx.Client, capfd: pytest.CaptureFixture[str], body: bytes, status: int
):
    answer = client.post("/gradio_api/queue/join", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status
    assert answer.text.endswith(".")
    lives(client)
    assert SECRET not in "".join(capfd.readouterr())


def test_an_event_number_of_any_type_is_refused(client: httpx.Client):
    for number in ([], {}, "1", 1.5, None):
        assert client.post("/gradio_api/run/predict", json=event(fn_index=number)).status_code == 404


def test_an_endpoint_that_is_none_is_refused(client: httpx.Client):
    for name in ("nope", "run", "ask", "v2/nope"):
        assert client.post(f"/gradio_api/call/{name}", json={"data": []}).status_code == 404


def test_what_needs_the_model_cannot_skip_the_queue(client: httpx.Client):
    queued = [d["id"] for d in client.get("/config").json()["dependencies"] if d["backend_fn"] and d["queue"]]
    assert len(queued) > 5
    for number in queued:
        assert client.post("/gradio_api/run/predict", json=event(fn_index=number)).status_code == 404


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
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
    },
)


@settings(derandomize=True, max_examples=150)
@given(
    address=st.sampled_from(["queue/join", "call/greedy", "call/v2/greedy", "run/predict", "cancel", "reset"]),
    body=events,
)
def test_whatever_is_sent_no_answer_is_a_fault_of_ours(client: httpx.Client, address: str, body: dict[str, object]):
    answer = client.post(
        f"/gradio_api/{address}", content=json.dumps(body), headers={"content-type": "application/json"}
    )
    assert answer.status_code < 500, (answer.status_code, answer.text)
    assert "Traceback" not in answer.text


def test_after_all_that_the_page_still_runs(client: httpx.Client):
    lives(client)
