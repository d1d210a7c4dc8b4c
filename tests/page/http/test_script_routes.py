"""The page's large scripts are compressed once and kept by browsers, so that a visit costs a class's network little."""

import gzip
from collections.abc import Iterator

import httpx
import pytest

import app as application
from decoding.page.http.script_routes import PageScript
from decoding.page.panel import page_scripts
from decoding.plotly_script import plotly_js
from tests.browser import served
from tests.fakes import ScriptedEngine
from tests.page.http.strangers import script_address

SCRIPTS = page_scripts()
ZIPPED, AS_IT_IS = {"accept-encoding": "gzip, deflate"}, {"accept-encoding": "identity"}


@pytest.fixture(scope="module")
def client(drives_server: None) -> Iterator[httpx.Client]:
    page = application.build_app(lambda name, report: ScriptedEngine(), ["scripted"])
    with served(page) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client


@pytest.mark.parametrize("name", ["panel", "plotly"])
@pytest.mark.parametrize("headers", [ZIPPED, AS_IT_IS, ZIPPED | {"accept-encoding": "br, gzip"}])
def test_a_script_is_kept_by_browsers_and_is_what_it_was(client: httpx.Client, name: str, headers: dict[str, str]):
    address = script_address(client.get("/").text, name)
    answer = client.get(address, headers=headers)
    assert answer.content == SCRIPTS[name]
    assert answer.headers["content-encoding"] == ("gzip" if "gzip" in headers["accept-encoding"] else "identity")
    assert (answer.headers["cache-control"], answer.headers["vary"].lower()) == (
        "public, max-age=31536000, immutable",
        "accept-encoding",
    )
    assert answer.headers["content-type"].startswith("text/javascript")
    head = client.head(address, headers=headers)
    assert (head.status_code, head.headers["content-length"]) == (200, answer.headers["content-length"])


def test_another_script_has_another_address():
    assert PageScript("panel", b"1").address != PageScript("panel", b"2").address


def test_a_script_is_compressed_once(client: httpx.Client, monkeypatch: pytest.MonkeyPatch):
    address = script_address(client.get("/").text)
    first = client.get(address, headers=ZIPPED).num_bytes_downloaded
    monkeypatch.setattr(gzip, "compress", lambda *_: pytest.fail("compressed once more"))
    assert client.get(address, headers=ZIPPED).num_bytes_downloaded == first < plotly_js().stat().st_size / 3


def test_the_page_itself_is_small(client: httpx.Client):
    answer = client.get("/", headers=ZIPPED)
    assert answer.num_bytes_downloaded < 70_000, "one more visit of each student, over one network"
    assert "greedyscope" in answer.text.lower()
    assert client.get("/", headers=AS_IT_IS).headers.get("content-encoding") is None
    assert client.get("/config", headers=ZIPPED).num_bytes_downloaded < 70_000


def test_a_stream_of_events_is_sent_as_it_comes(client: httpx.Client):
    """Compressed, an event would wait for more."""
    asked = client.post("/gradio_api/call/greedy", json={"data": ["a", 2, 2, "scripted"]}).json()["event_id"]
    with client.stream("GET", f"/gradio_api/call/greedy/{asked}", headers=ZIPPED) as stream:
        assert "content-encoding" not in stream.headers
        assert any("index" in line for line in stream.iter_lines())
