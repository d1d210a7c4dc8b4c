"""The static site on a little file server that can do what real ones do: send headers or not, break a file, be slow, be
gone. One site is written for all tests.
"""

import json
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from playwright.sync_api import Browser, Page

from decoding.record.trace import Trace
from decoding.site.build import build_site

NOISE = 2e-5
"""By so much a probability may differ."""
HEADERS = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}


class Server:
    """Serves a folder. What it is to do wrong can be changed while it runs."""

    def __init__(self, folder: Path) -> None:
        self.headers: dict[str, str] = HEADERS
        self.broken: dict[str, int] = {}
        """How often a file whose path begins so is still sent with another byte in it."""
        self.pieces: float = math.inf
        """How many pieces of the model are sent before the next one waits."""
        self.turn = threading.Condition()
        self.paths: list[str] = []
        self.sent = 0
        handler = partial(_Handler, self, directory=str(folder))
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._http.server_port}/"

    def let(self, pieces: float) -> None:
        """Send so many pieces more."""
        with self.turn:
            self.pieces = pieces
            self.turn.notify_all()

    def close(self) -> None:
        self.let(math.inf)
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, server: Server, *args: Any, **options: Any) -> None:
        self._told = server
        super().__init__(*args, **options)

    def do_GET(self) -> None:
        told, path = self._told, self.path.lstrip("/").partition("?")[0]
        told.paths.append(path)
        if path.startswith("model/weights"):
            with told.turn:
                told.turn.wait_for(lambda: told.pieces > 0, 60)
                told.pieces -= 1
        broken = next((name for name, times in told.broken.items() if path.startswith(name) and times), None)
        if broken is None:
            super().do_GET()
            return
        told.broken[broken] -= 1
        data = bytearray(Path(self.translate_path(self.path)).read_bytes())
        data[len(data) // 2] ^= 1
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def end_headers(self) -> None:
        for name, value in self._told.headers.items():
            self.send_header(name, value)
        super().end_headers()

    def copyfile(self, source: Any, outputfile: Any) -> None:
        data = source.read()
        self._told.sent += len(data)
        with suppress(ConnectionError):  # the page stopped its download
            outputfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="session")
def site_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The starter's site, written once, also where several processes run the tests."""
    shared = tmp_path_factory.getbasetemp()
    shared = shared.parent if shared.name.startswith("popen-") else shared
    with FileLock(shared / "site.lock"):
        folder = shared / "site"
        if not folder.exists():
            build_site(folder)
    return folder


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    server = Server(folder)
    try:
        yield server
    finally:
        server.close()


@contextmanager
def opened(browser: Browser, **options: Any) -> Iterator[tuple[Page, list[str]]]:
    """A page of a browser of its own, and what was complained of in it."""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 720}, "locale": "en-US", **options})
    page, complaints = context.new_page(), []
    page.set_default_timeout(120_000)
    page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    try:
        yield page, complaints
    finally:
        context.close()


def wait_ready(page: Page) -> None:
    """The model is loaded: the line about it is gone."""
    page.wait_for_selector('#download[data-state="ready"]', state="attached")


def run(page: Page, prompt: str, steps: int, choices: int) -> None:
    page.fill("#prompt textarea", prompt)
    page.fill("#steps input", str(steps))
    page.fill("#choices input", str(choices))
    page.click("#run")
    wait_idle(page)


def wait_idle(page: Page) -> None:
    page.wait_for_selector("#stop:disabled")


def kept(page: Page) -> str:
    """The run on screen, as the file that the page saves."""
    page.click("#gs-tab-keep")
    with page.expect_download() as download:
        page.click('[data-file="jsonl"]')
    return Path(download.value.path()).read_text("utf-8")


def differences(ours: str, theirs: Trace, noise: float = NOISE) -> list[str]:
    """Where two runs differ, but for the model's line: probabilities by more than `noise`."""
    there = theirs.to_jsonl().splitlines()
    here = ours.splitlines()
    found = [] if len(here) == len(there) else [f"{len(here)} lines, {len(there)} there"]
    for number, pair in enumerate(zip(here, there, strict=False), start=1):
        a, b = map(json.loads, pair)
        for header in (a, b):
            header.pop("model", None)
        found += [f"line {number}{place}: {x!r}, {y!r}" for place, x, y in _apart(a, b, noise)]
    return found


def _apart(a: Any, b: Any, noise: float, place: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(a, dict) and isinstance(b, dict):
        if [*a] != [*b]:
            yield place, [*a], [*b]
        for name in a.keys() & b.keys():
            yield from _apart(a[name], b[name], noise, f"{place}.{name}")
    elif isinstance(a, list) and isinstance(b, list):
        if len(a) != len(b):
            yield place, len(a), len(b)
        for n, (x, y) in enumerate(zip(a, b, strict=False)):
            yield from _apart(x, y, noise, f"{place}.{n}")
    elif isinstance(a, int | float) and isinstance(b, int | float) and type(a) is not bool:
        # A log-probability is as uncertain as its logit, which is large where its probability is small.
        most = 1e-3 if "log" in place or "entropy" in place else noise
        if abs(a - b) > most or (isinstance(a, int) and isinstance(b, int) and a != b):
            yield place, a, b
    elif a != b:
        yield place, a, b
