"""Headers that a stranger sets: what is let in, and that none makes a fault or stands in anybody else's page."""

import re
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import gradio as gr
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import app as application
from decoding.page.http.addresses import is_trusted_proxy, visitors_address
from decoding.page.http.header_filter import allowed_headers, is_host, is_origin
from tests.browser import served
from tests.fakes import ScriptedEngine


@pytest.fixture(scope="module")
def port(drives_server: None) -> Iterator[int]:
    page = application.build_app(lambda name, report: ScriptedEngine(), ["scripted"])
    with served(page) as url:
        yield int(httpx.URL(url).port or 0)


def asked(port: int, head: str, *, address: str = "127.0.0.2") -> tuple[int, bytes]:
    """A request as it stands here, and the answer's status and all of its bytes."""
    source = (address, 0)
    with closing(socket.create_connection(("127.0.0.1", port), timeout=60, source_address=source)) as there:
        there.sendall(head.replace("\n", "\r\n").encode("latin-1"))
        heard = b""
        while part := there.recv(65536):
            heard += part
    return int(heard.split(b" ")[1]), heard


HEADERS = {
    "a port that is none": "x-forwarded-host: a:port",
    "an address that is none": "x-forwarded-host: [::1",
    "a port too large": "x-forwarded-host: a:99999999",
    "a protocol": "x-forwarded-proto: gopher",
    "another server": "x-gradio-server: http://evil:port/",
    "an origin that is none": "origin: http://[",
    "an origin with a port that is none": "origin: http://a:b",
    "an origin of bytes": "origin: \xff\xfe",
    "a visitor who is none": "x-forwarded-for: not an address, 1.2.3",
    "a cookie": "cookie: access-token-x=\xff; =; ;;",
    "a language": "accept-language: " + ",".join(["x"] * 500),
    "a range": "range: bytes=99999999999-1,2-3",
    "a day": "if-modified-since: never",
    "a token": "authorization: Bearer \xff",
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_no_header_is_a_fault(
    port: int, header: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    for address in ("127.0.0.1", "127.0.0.2"):  # a proxy may be on this machine, and is believed
        for path in ("/", "/config", "/gradio_api/info", "/theme.css"):
            head = f"GET {path} HTTP/1.1\nhost: a\nconnection: close\n{header}\n\n"
            status, heard = asked(port, head, address=address)
            assert status in (200, 404), heard[:300]
    assert not caplog.records
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("host", ["a:port", "", "[::1", "a b", "<script>", "a:70000", "a\nhost: b"])
def test_a_host_that_cannot_be_gets_a_sentence(port: int, host: str, caplog: pytest.LogCaptureFixture) -> None:
    status, heard = asked(port, f"GET / HTTP/1.1\nhost: {host}\n\n")
    assert status == 400
    assert heard.endswith(b"The request does not name a valid host.")
    assert not caplog.records


def test_an_old_request_need_not_name_one(port: int, caplog: pytest.LogCaptureFixture) -> None:
    assert asked(port, "GET / HTTP/1.0\norigin: http://a\n\n")[0] == 200
    assert asked(port, "GET /healthz HTTP/1.0\n\n")[0] == 200  # as a proxy looks whether we live
    assert not caplog.records


EVIL = "\n".join(
    (
        "x-forwarded-host: evil.example",
        "x-forwarded-proto: https",
        "x-gradio-server: http://evil.example",
        "forwarded: host=evil.example",
    )
)


@pytest.mark.parametrize("path", ["/", "/config"])
def test_a_strangers_host_does_not_come_into_the_page(port: int, path: str) -> None:
    _, heard = asked(port, f"GET {path} HTTP/1.1\nhost: page.example\nconnection: close\n{EVIL}\n\n")
    assert b"evil.example" not in heard
    assert b"http://page.example" in heard
    _, heard = asked(port, f"GET {path} HTTP/1.1\nhost: a\nconnection: close\n{EVIL}\n\n", address="127.0.0.1")
    assert b"https://evil.example" in heard  # the proxy of this machine is believed


@pytest.mark.parametrize("path", ["/", "/config", "/gradio_api/info", "/healthz"])
def test_nobody_keeps_an_answer_with_a_header_in_it(port: int, path: str) -> None:
    _, heard = asked(port, f"GET {path} HTTP/1.1\nhost: a\nconnection: close\n\n")
    assert b"cache-control: no-store" in heard.lower().split(b"\r\n\r\n")[0]


def test_a_browser_keeps_gradios_scripts_whose_names_hold_a_hash(port: int) -> None:
    files = [file.name for file in (Path(gr.__file__).parent / "templates/frontend/assets").iterdir()]
    assert len(files) > 500
    assert not [name for name in files if not re.search(r"-[\w-]{8}2?\.\w+$", name)]
    for name, status, kept in ((files[0], 200, b"public, max-age=31536000, immutable"), ("no.js", 404, b"no-store")):
        found, heard = asked(port, f"GET /assets/{name} HTTP/1.1\nhost: a\nconnection: close\n\n")
        assert found == status
        assert b"cache-control: " + kept in heard.lower().split(b"\r\n\r\n")[0].split(b"\r\n")


@pytest.mark.parametrize(
    ("value", "is_one"),
    [
        ("a", True),
        ("page.example:7860", True),
        ("[::1]:80", True),
        ("127.0.0.1", True),
        ("", False),
        ("a:", False),
        ("a:b", False),
        ("a:65536", False),
        ("a/b", False),
        ("a@b", False),
        ("[::1", False),
        ("a" * 300, False),
    ],
)
def test_what_is_a_host(value: str, is_one: bool) -> None:
    assert is_host(value.encode()) == is_one
    assert is_origin(b"https://" + value.encode()) == is_one
    assert not is_origin(value.encode())


@given(st.lists(st.tuples(st.sampled_from([b"host", b"origin", b"x-forwarded-host"]), st.binary(max_size=40))))
def test_what_is_let_in_was_sent_and_can_be_read(headers: list[tuple[bytes, bytes]]) -> None:
    for from_proxy in (True, False):
        left = allowed_headers(headers, from_proxy=from_proxy)
        assert all(one in headers for one in left)
        assert all(is_origin(value) for name, value in left if name == b"origin")
        assert from_proxy or b"x-forwarded-host" not in dict(left)


def test_who_is_believed_and_whose_an_address_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [is_trusted_proxy(host) for host in ("127.0.0.1", "::1", "127.0.0.2", "10.0.0.1", "8.8.8.8", "")] == [
        True,
        True,
        False,
        False,
        False,
        False,
    ]
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "10.0.0.0/8, proxy")
    assert [is_trusted_proxy(host) for host in ("127.0.0.1", "10.1.2.3", "proxy", "11.0.0.1")] == [
        False,
        True,
        True,
        False,
    ]
    assert [visitors_address(host) for host in ("10.1.2.3", "127.0.0.1", "proxy")] == [None, "127.0.0.1", None]
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")
    assert [visitors_address(host) for host in ("10.1.2.3", "8.8.8.8")] == [None, "8.8.8.8"]
    monkeypatch.delenv("FORWARDED_ALLOW_IPS")
    assert visitors_address("10.1.2.3") == "10.1.2.3"
    monkeypatch.setenv("SPACE_ID", "somebody/something")
    assert [visitors_address(host) for host in ("10.1.2.3", "8.8.8.8")] == [None, "8.8.8.8"]
