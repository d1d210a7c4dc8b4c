"""Every way in, at the worst that fits through it and at a little more: each row of the README's table is held here.

What is sent is generated to the limits. The engine is a script, so what is left is what the server itself does.
"""

import json
import re
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import httpx
import pytest

import app as application
import decoding
from decoding import limits
from decoding.page.browser_offer import BrowserOffer
from decoding.page.gradio_compat import connection_limits, session_limits
from decoding.page.http import (
    browser_routes,
    concurrency,
    export_routes,
    request_body,
    request_filter,
    thread_pool,
    vote_routes,
    vote_waiting,
)
from decoding.page.layout import FIELDS
from decoding.serving import admission
from decoding.site.model_files import PIECE_BYTES
from tests.browser import served
from tests.fakes import ScriptedEngine
from tests.page.http.strangers import script_address
from tests.serving.votes import MAX_SESSION_BYTES
from tests.waiting import until

README = Path(request_filter.__file__).parent / "README.md"
RUN = decoding.trace(ScriptedEngine(), "a", max_new_tokens=3, top_k=2).to_jsonl()
STRANGER = "127.0.0.9"
JSON = {"content-type": "application/json"}
MB = 2**20


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder such as `--browser on` serves; the page is a scripted one, and its files are as large as real ones."""
    folder = tmp_path_factory.mktemp("in-browser")
    for place, size in (("model/weights-000.bin", PIECE_BYTES), ("engine/worker.js", 5_000), ("engine/run.js", 5_000)):
        (folder / place).parent.mkdir(exist_ok=True)
        (folder / place).write_bytes(b"x" * size)
    (folder.parent / "secret").write_text("nobody may read this", "utf-8")
    return folder


@pytest.fixture(scope="module")
def http(drives_server: None, files: Path) -> Iterator[httpx.Client]:
    page = application.build_app(lambda name, report: ScriptedEngine(), ["scripted"])
    page.browser = BrowserOffer(files, {"model": {"id": "scripted"}})  # type: ignore[attr-defined]
    transport = httpx.HTTPTransport(local_address=STRANGER)
    with served(page, mcp=True) as url, httpx.Client(base_url=url, transport=transport, timeout=300) as client:
        client.headers["x-run"] = str(events(client)["run"])
        yield client


def events(http: httpx.Client) -> dict[str, int]:
    wired = [one for one in http.get("/config").json()["dependencies"] if one["backend_fn"]]
    return {
        "run": next(one["id"] for one in wired if len(one["inputs"]) == len(FIELDS)),
        "look": next(one["id"] for one in wired if not one["queue"] and len(one["outputs"]) == 1),
    }


def padded(value: dict[str, object], size: int, at: str = "trigger") -> bytes:
    """An event of exactly so many bytes, most of them in one text."""
    empty = json.dumps(value | {at: ""}).encode()
    return json.dumps(value | {at: "x" * (size - len(empty))}).encode()


def posted(http: httpx.Client, path: str, body: bytes) -> int:
    with suppress(httpx.WriteError, httpx.ReadError):  # refused while it is still being sent
        return http.post(path, content=body, headers=JSON).status_code
    return 413


def an_event(http: httpx.Client) -> None:
    run = {"fn_index": events(http)["run"], "session_hash": "s", "data": ["a", 1, 2, "scripted", False, False]}
    assert posted(http, "/gradio_api/queue/join", padded(run, request_filter.MAX_EVENT_BYTES)) == 200
    assert posted(http, "/gradio_api/queue/join", padded(run, request_filter.MAX_EVENT_BYTES + 1)) == 413
    # As many values as there could be in so many bytes, which were 250 MB and a second of the event loop.
    assert posted(http, "/gradio_api/queue/join", b'{"data": [' + b"[]," * 3_900_000 + b"[]]}") == 413
    assert posted(http, "/gradio_api/queue/join", b'{"data": ["' + b'\\"' * 5_000_000 + b'"]}') == 404  # one text
    assert posted(http, "/gradio_api/queue/join", b'{"data": [' + b'"",' * 1_000_000 + b'""]}') == 413


def an_endpoint(http: httpx.Client) -> None:
    asked: dict[str, object] = {"data": ["rubbish"]}
    assert posted(http, "/gradio_api/call/check", padded(asked, request_filter.MAX_EVENT_BYTES)) == 200
    assert posted(http, "/gradio_api/call/check", padded(asked, request_filter.MAX_EVENT_BYTES + 1)) == 413
    assert posted(http, "/gradio_api/call/check", b'{"data": [' + b"0," * 30_000 + b"0]}") in (413, 422)


def a_tool(http: httpx.Client) -> None:
    called: dict[str, object] = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "check"}}
    accepted = {"accept": "application/json, text/event-stream"}
    most = request_filter.MAX_EVENT_BYTES
    for size, status in ((most, 200), (most + 1, 413)):
        answer = http.post("/gradio_api/mcp/", content=padded(called, size, "more"), headers=JSON | accepted)
        assert answer.status_code == status
    assert posted(http, "/gradio_api/mcp/", b'{"params": [' + b"[]," * 3_900_000 + b"[]]}") == 413
    assert posted(http, "/gradio_api/mcp/messages", b"{}") == 404
    until(lambda: request_body.BODY_BYTES.total < MB)  # the last byte is here before the server's release


def an_event_without_the_queue(http: httpx.Client) -> None:
    look: dict[str, object] = {"fn_index": events(http)["look"], "session_hash": "s", "data": []}
    assert posted(http, "/gradio_api/run/predict", padded(look, request_filter.MAX_BODY_BYTES)) == 200
    assert posted(http, "/gradio_api/run/predict", padded(look, request_filter.MAX_BODY_BYTES + 1)) == 413


def an_end(http: httpx.Client) -> None:
    for path, named in (
        ("cancel", {"session_hash": "s", "fn_index": 0, "event_id": "e"}),
        ("reset", {"event_id": "e"}),
    ):
        assert posted(http, f"/gradio_api/{path}", padded(dict(named), request_filter.MAX_BODY_BYTES)) == 200
        assert posted(http, f"/gradio_api/{path}", padded(dict(named), request_filter.MAX_BODY_BYTES + 1)) == 413


def a_stream(http: httpx.Client) -> None:
    room = request_filter.MAX_ADDRESS_BYTES - len("/gradio_api/call/check/")
    assert "404" in http.get(f"/gradio_api/call/check/{'x' * room}").text
    assert http.get(f"/gradio_api/call/check/{'x' * (room + 1)}").status_code == 404
    for _ in range(50):
        with http.stream("GET", "/gradio_api/heartbeat/s") as beats:
            assert beats.status_code == 200


def the_page(http: httpx.Client) -> None:
    most = {f"x-{n}": "y" * 250 for n in range(connection_limits.MAX_HEADERS - 10)}
    assert http.get("/", headers=most).status_code == 200
    for head in (
        {"x": "y" * connection_limits.MAX_HEAD_BYTES},
        {f"x-{n}": "y" for n in range(connection_limits.MAX_HEADERS)},
    ):
        with suppress(httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError):
            assert http.get("/", headers=head).status_code in (400, 431)
    script = script_address(http.get("/").text)
    for _ in range(concurrency.MAX_REQUESTS + concurrency.MAX_FILES):  # those that break off give their turn back
        with http.stream("GET", script) as file:
            next(file.iter_raw())


def a_file_to_convert(http: httpx.Client) -> None:
    header, rest = RUN.split("\n", 1)
    room = export_routes.MAX_RUN_BYTES - len(RUN)
    largest = f"{header}{' ' * room}\n{rest}".encode()
    assert len(largest) == export_routes.MAX_RUN_BYTES
    assert posted(http, "/keep/jsonl", largest) == 200
    assert posted(http, "/keep/jsonl", largest + b" ") == 413
    assert posted(http, "/keep/html-plotly", RUN.encode()) == 200
    until(lambda: request_body.BODY_BYTES.total < MB)  # the last byte is here before the server's release


def a_vote(http: httpx.Client) -> None:
    opened = http.post("/vote/open", json={}).json()
    address, teacher = f"/vote/{opened['code']}", {"x-vote-secret": opened["secret"]}
    question = {"number": 0, "step": 1, "labels": ["x" * limits.MAX_VOTE_ANSWER_CHARACTERS] * 51}
    question["text"] = "x" * limits.MAX_VOTE_TEXT_CHARACTERS
    largest = padded(question, limits.MAX_VOTE_BODY_BYTES, "more")
    for body, status in ((largest, 200), (largest + b" ", 413), (b'{"labels": [' + b"[]," * 2_000 + b"[]]}", 422)):
        assert http.post(f"{address}/ask", content=body, headers=JSON | teacher).status_code == status
    head = (
        f"POST {address}/ask HTTP/1.1\r\nhost: a\r\nx-vote-secret: {opened['secret']}\r\ncontent-length: 900000\r\n\r\n"
    )
    with closing(socket.create_connection(("127.0.0.1", http.base_url.port or 80), 30, (STRANGER, 0))) as there:
        there.sendall(head.encode() + b"x" * (limits.MAX_VOTE_BODY_BYTES + 1))
        assert b" 413 " in there.recv(100)  # it is not read to its end first
    students = [{"x-vote-id": f"{number:03}" * 8} for number in range(limits.MAX_VOTE_STUDENTS + 1)]
    joined = [http.post(f"{address}/join", headers=student, json={}) for student in students]
    assert [answer.status_code for answer in joined] == [200] * limits.MAX_VOTE_STUDENTS + [503]
    version = joined[0].json()["version"]
    with ThreadPoolExecutor(50) as phones:  # all wait, and nobody else does
        waits = [
            phones.submit(http.get, f"{address}/state?since={version}", headers=student) for student in students[:50]
        ]
        health(http)
        assert http.post(f"{address}/end", json={}, headers=teacher).json()["phase"] == "ended"
        assert {wait.result().status_code for wait in waits} <= {200, 404}
    assert http.get(f"{address}/state", headers=students[0]).status_code == 404


def the_files_of_browsers(http: httpx.Client) -> None:
    piece = "/in-browser/model/weights-000.bin"
    whole = http.get(piece, headers={"accept-encoding": "br, gzip"})
    assert len(whole.content) == PIECE_BYTES == int(whole.headers["content-length"])  # as it is, and not compressed
    assert whole.headers["cache-control"] == browser_routes.FOR_EVER
    assert http.get("/in-browser/engine/worker.js").headers["content-encoding"] == "identity"
    for headers, status, size in (
        ({"range": "bytes=10-29"}, 206, 20),
        ({"range": f"bytes={PIECE_BYTES}-"}, 416, None),
        ({"if-none-match": whole.headers["etag"]}, 304, 0),
        ({"range": "rubbish"}, 400, None),
    ):
        answer = http.get(piece, headers=headers)
        assert answer.status_code == status
        assert size in (None, len(answer.content))
    many = "bytes=" + ",".join(f"{n}-{n + 5}" for n in range(0, 30_000, 9))
    assert len(http.get(piece, headers={"range": many}).content) <= PIECE_BYTES
    room = request_filter.MAX_ADDRESS_BYTES - len("/in-browser/")
    for path in ("x" * room, "x" * (room + 1), "..%2fsecret", "model/..%2f..%2fsecret", "%00", "", "model", "engine/"):
        assert http.get(f"/in-browser/{path}").status_code == 404, path
    assert http.post(piece, content=b"x").status_code == 405
    assert http.head(piece).headers["content-length"] == str(PIECE_BYTES)
    for _ in range(concurrency.MAX_FILES + 1):  # those that break off give their turn back
        with http.stream("GET", piece) as answer:
            next(answer.iter_raw())


def health(http: httpx.Client) -> None:
    assert http.get("/healthz", headers={"x": "y" * 30_000}).text == "alive\n"
    assert http.get("/readyz").status_code in (200, 503)


def a_slow_head_or_body(http: httpx.Client) -> None:
    """Many at once, each with as much as is read of it; the times are `test_connection_limits`'."""
    port = http.base_url.port or 80
    many = [socket.create_connection(("127.0.0.1", port), 60, (STRANGER, 0)) for _ in range(200)]
    for there in many:
        there.sendall(
            b"POST /gradio_api/queue/join HTTP/1.1\r\nhost: a\r\ncontent-length: 9000000\r\n\r\n" + b"x" * 60_000
        )
    health(http)
    for there in many:
        with closing(there):
            pass


WORST: dict[str, Callable[[httpx.Client], None]] = {
    "an event of the page: `queue/join`": an_event,
    "an endpoint: `call/…`": an_endpoint,
    "a tool of `--mcp on`: `mcp`": a_tool,
    "an event without the queue: `run/predict`": an_event_without_the_queue,
    "an end: `cancel`, `reset`": an_end,
    "a stream: `queue/data`, `call/…/id`, `heartbeat`": a_stream,
    "the page and its files": the_page,
    "a file to convert: `keep/…`": a_file_to_convert,
    "a class's vote: `vote/…`": a_vote,
    "the files of `--browser on`: `in-browser/…`": the_files_of_browsers,
    "health: `healthz`, `readyz`, `metrics`": health,
    "a slow head or body": a_slow_head_or_body,
}


@pytest.mark.parametrize("way", WORST)
def test_a_way_in_at_its_worst(http: httpx.Client, way: str, caplog: pytest.LogCaptureFixture) -> None:
    WORST[way](http)
    asked = http.post("/gradio_api/call/greedy", json={"data": ["a", 1, 2, "scripted"]})
    assert "complete" in http.get(f"/gradio_api/call/greedy/{asked.json()['event_id']}").text
    assert not [record for record in caplog.records if record.levelname in ("ERROR", "WARNING")]


def rows() -> list[list[str]]:
    table = [line for line in README.read_text("utf-8").splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table[1:]]


def test_every_way_in_has_its_row_and_its_worst_input() -> None:
    assert [row[0] for row in rows()] == [*WORST]
    assert {len(row) for row in rows()} == {6}


def test_the_tables_numbers_are_the_programs() -> None:
    """Every figure of the table stands in a constant, so that neither changes without the other."""
    told = {way: " ".join(rest) for way, *rest in rows()}
    all_of_it = " ".join(told.values())
    tickets = admission.MAX_SERVED + admission.MAX_WAITING
    for number in (
        f"{request_filter.MAX_EVENT_BYTES // MB} MB",
        f"{request_filter.MAX_BODY_BYTES // MB} MB",
        f"{export_routes.MAX_RUN_BYTES // MB} MB",
        f"{request_body.MAX_STRUCTURE_BYTES // 1000} kB outside",
        f"{request_body.MAX_HELD_BYTES // MB} MB for all",
        f"{session_limits.MAX_UNREAD_BYTES // MB} MB for all, for a minute",
        f"{session_limits.MAX_SESSIONS:,} sessions",
        f"{application.MAX_EVENTS} events, {session_limits.MAX_EVENTS_PER_ADDRESS}",
        f"{tickets} places in the admission queue, {tickets // 2}",
        f"served {admission.MAX_SERVED * 3 // 4} of {admission.MAX_SERVED}",
        f"{admission.MAX_LONG} long ones",
        f"and {session_limits.MAX_FILES_PER_ADDRESS} events of an address",
        f"an address of {request_filter.MAX_ADDRESS_BYTES} bytes",
        f"{connection_limits.MAX_CONNECTIONS:,} connections, {connection_limits.MAX_CONNECTIONS // 2}",
        f"a head of {connection_limits.MAX_HEAD_BYTES // 1024} kB and {connection_limits.MAX_HEADERS} headers",
        f"{connection_limits.UNREAD_SECONDS:.0f} s after nobody reads",
        f"{limits.MAX_VOTE_BODY_BYTES // 1024} kB",
        f"{limits.MAX_VOTE_SESSIONS} sessions, {limits.MAX_VOTE_SESSIONS_PER_ADDRESS}",
        f"{limits.MAX_VOTE_STUDENTS} students in each",
        f"{vote_routes.REQUESTS_PER_SECOND} requests a second",
        f"news after {vote_waiting.WAIT_SECONDS:.0f} s",
        f"{MAX_SESSION_BYTES // 10**6} MB a session",
        f"a head after {connection_limits.HEAD_SECONDS:.0f} s, a body after {connection_limits.BODY_SECONDS:.0f} s",
        f"{concurrency.MAX_FILES} files at once",
        f"{concurrency.MAX_REQUESTS} requests at once, {concurrency.MAX_FILES} for plotly.js",
        f"{thread_pool.MAX_RUNNING} threads; {thread_pool.MAX_WAITING} that wait, {thread_pool.MAX_PER_ADDRESS}",
    ):
        assert re.search(rf"(?<![\d,]){re.escape(number)}", all_of_it), number
    assert session_limits.UNREAD_SECONDS == 60
