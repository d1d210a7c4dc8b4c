"""Connections of strangers who send slowly, much, or nonsense; the clocks are wound forward, the sockets are real."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress

import gradio as gr
import httpx
import pytest

import app as application
from decoding.page.gradio_compat.connection_limits import ConnectionLimits
from decoding.page.http import request_body
from decoding.page.http.address_budget import AddressBudget
from tests.browser import served
from tests.fakes import ScriptedEngine
from tests.page.http.strangers import script_address
from tests.waiting import until


@pytest.fixture(scope="module")
def page(drives_server: None) -> Iterator[gr.Blocks]:
    """A page that waits for a second where it waits for ten to sixty."""
    page = application.build_app(lambda name, report: ScriptedEngine(), ["scripted"])
    with served(page, connections=ConnectionLimits(1.0, 1.0, 1.0)):
        yield page


@pytest.fixture
def port(page: gr.Blocks) -> int:
    return page.server_port


def connected(port: int, address: str = "127.0.0.2") -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=60, source_address=(address, 0))


def answer(there: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    heard = b""
    with suppress(ConnectionResetError):
        while part := there.recv(65536):
            heard += part
    return heard


def lives(port: int) -> None:
    assert httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=60).text == "alive\n"


POST = b"POST /gradio_api/queue/join HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n"

SLOW = {
    "nothing": b"",
    "half a request's line": b"GET / HT",
    "half a head": b"GET / HTTP/1.1\r\nhost: a\r\n",
    "no body": POST + b"content-length: 1000000\r\n\r\n",
    "half a body": POST + b"content-length: 1000000\r\n\r\n" + b"x" * 500_000,
    "a chunk that does not end": POST + b"transfer-encoding: chunked\r\n\r\nfffff\r\nabc",
    "the body of what needs none": b"GET /healthz HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\nabc",
    "a file to convert": b"POST /keep/csv HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n{",
}


@pytest.mark.parametrize("sent", SLOW.values(), ids=SLOW)
def test_who_sends_slowly_is_not_waited_for(port: int, sent: bytes) -> None:
    with closing(connected(port)) as there:
        there.sendall(sent)
        begun = time.monotonic()
        heard = answer(there)  # the test's own limit is a minute of silence
        assert time.monotonic() - begun >= 0.5
    assert not heard or b"408" in heard.split(b"\r\n")[0] or heard.endswith(b"alive\n")
    lives(port)


def test_a_second_request_on_a_connection_has_its_time_too(port: int) -> None:
    with closing(connected(port)) as there:
        there.sendall(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n")
        heard = b""
        while not heard.endswith(b"alive\n"):
            heard += there.recv(65536)
        there.sendall(b"GET /healthz HTTP/1.1\r\nho")
        assert answer(there).startswith(b"HTTP/1.1 408")
    lives(port)


def test_who_does_not_read_is_not_waited_for(page: gr.Blocks, port: int) -> None:
    connections: AddressBudget = page.server.config.http.open_connections  # type: ignore[union-attr]
    with closing(connected(port)) as there:
        there.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        plotly = script_address(httpx.get(f"http://127.0.0.1:{port}/", timeout=60).text)
        there.sendall(f"GET {plotly} HTTP/1.1\r\nhost: a\r\n\r\n".encode())
        assert there.recv(1000).startswith(b"HTTP/1.1 200")
        assert connections.held_by("127.0.0.2") == 1
        until(lambda: not connections.held_by("127.0.0.2"))
        assert len(answer(there)) < 4_000_000
    lives(port)


HUGE = {
    "an address": b"GET /" + b"a" * 200_000,
    "a header": b"GET / HTTP/1.1\r\nhost: a\r\nx: " + b"a" * 200_000,
    "a header's name": b"GET / HTTP/1.1\r\nhost: a\r\n" + b"a" * 200_000,
    "many headers": b"GET / HTTP/1.1\r\nhost: a\r\n" + b"x: y\r\n" * 150 + b"\r\n",
    "many large headers": b"GET / HTTP/1.1\r\nhost: a\r\n" + (b"x: " + b"y" * 1000 + b"\r\n") * 50 + b"\r\n",
    "no request": b"\x16\x03\x01" + b"\x00" * 50,
    "two lengths": POST + b"content-length: 1\r\ncontent-length: 2\r\n\r\nab",
    "a length and chunks": POST + b"content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("sent", HUGE.values(), ids=HUGE)
def test_a_head_is_no_place_for_much(port: int, sent: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with closing(connected(port)) as there:
        with suppress(ConnectionResetError, BrokenPipeError):
            there.sendall(sent)
        heard = answer(there)
    assert not heard or heard.startswith((b"HTTP/1.1 400", b"HTTP/1.1 431")), heard[:200]
    assert not caplog.records
    lives(port)


ODD = {
    "of the whole server": b"OPTIONS * HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    "to go through": b"CONNECT b:443 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    "of a proxy": b"GET http://b/config HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    "of an address that is none": b"GET http://[/ HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    "of another version": b"GET / HTTP/2.0\r\nhost: a\r\nconnection: close\r\n\r\n",
    "of a method that is none": b"BREW / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    "of a method that is not ours": b"TRACE / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    "with bytes in its address": b"GET /\xff\xfe?%ff=%00 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    "with half a character": b"GET /%ed%a0%80/%00 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    "for a link to a state": b"GET /?deep_link=../../x&page=nope HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    "for a page that is not": b"GET /?page=nope HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    "for a part": b"GET /config?page=nope&deep_link=%00 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    "for an api's page": b"GET /gradio_api/info?page=nope HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    "across origins": b"OPTIONS /config HTTP/1.0\r\norigin: http://b\r\naccess-control-request-method: X\r\n\r\n",
    "with two in one": b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\nGET / HTTP/1.0\r\n\r\n",
}


@pytest.mark.parametrize("sent", ODD.values(), ids=ODD)
def test_an_odd_request_is_no_fault(
    port: int, sent: bytes, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with closing(connected(port)) as there:
        there.sendall(sent)
        heard = answer(there)
    assert not heard or heard.split(b" ")[1][:1] in (b"2", b"3", b"4"), heard[:300]
    assert not caplog.records
    assert not capfd.readouterr().err
    lives(port)


def test_a_wish_for_another_protocol_is_passed_over(port: int, caplog: pytest.LogCaptureFixture) -> None:
    with closing(connected(port)) as there:
        there.sendall(
            b"GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: upgrade, close\r\nupgrade: websocket\r\n"
            b"sec-websocket-key: x\r\nsec-websocket-version: 13\r\n\r\n"
        )
        assert answer(there).endswith(b"alive\n")
    assert not caplog.records


def test_who_has_many_connections_does_not_keep_others_out(port: int) -> None:
    with ExitStack() as stack:
        held = [stack.enter_context(closing(connected(port, "127.0.0.9"))) for _ in range(600)]
        lives(port)
        with httpx.Client(transport=httpx.HTTPTransport(local_address="127.0.0.3"), timeout=60) as other:
            assert other.get(f"http://127.0.0.1:{port}/").status_code == 200
        begun = time.monotonic()
        for there in held:
            assert not answer(there) or time.monotonic() - begun < 60
    lives(port)


# ---- bodies


@pytest.mark.usefixtures("drives_server")
def test_bodies_have_a_total() -> None:
    large, before = 10 * 2**20, request_body.BODY_BYTES.total  # other tests' servers live in this process
    page = application.build_app(lambda name, report: ScriptedEngine(), ["scripted"])
    with served(page, connections=ConnectionLimits(body_seconds=30.0)) as url:
        port = int(httpx.URL(url).port or 0)
        with ExitStack() as stack:
            for n in range(12):  # 120 MB
                there = stack.enter_context(closing(connected(port, f"127.0.0.{10 + n}")))
                there.settimeout(30)
                with suppress(ConnectionResetError, BrokenPipeError):
                    there.sendall(POST + b"content-length: %d\r\n\r\n" % large + b"x" * (large - 10))
            until(lambda: request_body.BODY_BYTES.total >= request_body.MAX_HELD_BYTES // 2)
            assert request_body.MAX_HELD_BYTES // 2 < request_body.BODY_BYTES.total <= request_body.MAX_HELD_BYTES
            # A small one is read all the same.
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
                event = client.post("/gradio_api/call/greedy", json={"data": ["a", 1, 2, "scripted"]})
                assert "event_id" in event.json()
        until(lambda: request_body.BODY_BYTES.total <= before)  # while there is a server that hears of it
