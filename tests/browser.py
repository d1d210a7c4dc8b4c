"""A real Chromium for the page's tests: the system's, or Playwright's own, or Debian's package; without one they fail.

Owns the fixtures `browser` and `visit`, and what every visit is held to: no error in the console, nothing fetched from
another machine.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import gradio as gr
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

import app as application

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = ("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run")

expect.set_options(timeout=20_000)  # these machines are shared; a condition that holds is seen at once all the same


def chromium() -> str:
    """The path of a Chromium, installed first if there is none. Raises RuntimeError with what was tried."""
    tried = []
    for attempt in (None, [sys.executable, "-m", "playwright", "install", "chromium"], _debian()):
        if attempt:
            done = subprocess.run(attempt, capture_output=True, text=True, timeout=600, check=False)
            tried.append(f"{' '.join(attempt)}: {done.stderr.strip()[-300:]}")
        if path := next(filter(None, map(shutil.which, NAMES)), None) or _playwrights_own():
            return path
    raise RuntimeError("The page's tests need a Chromium, and none could be had. Tried:\n" + "\n".join(tried))


def _debian() -> list[str] | None:
    if not shutil.which("apt-get"):
        return None
    root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    return ["sh", "-c", f"{' '.join(root)} apt-get update && {' '.join(root)} apt-get install -y chromium"]


def _playwrights_own() -> str | None:
    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if path and Path(path).exists() else None


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = chromium()
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", *QUIET])
        yield launched
        launched.close()


@contextmanager
def served(page: gr.Blocks) -> Iterator[str]:
    """The page on a port that the operating system picks; its address."""
    host = "127.0.0.1"
    url = application.launch(page, server_name=host, server_port=application.free_port(host), prevent_thread_lock=True)
    try:
        yield url
    finally:
        page.close(verbose=False)


Visit = Callable[..., Page]


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    """Open an address in a browser of its own. At the end of the test, nothing may have gone wrong in any."""
    complaints: list[str] = []
    with ExitStack() as stack:

        def open_page(url: str, *, width: int = 1280, height: int = 900, scheme: str = "light") -> Page:
            context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
            stack.callback(context.close)
            page = context.new_page()
            page.set_default_timeout(20_000)
            page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("request", lambda r: complaints.append(r.url) if not _here(r.url, url) else None)
            page.goto(url)
            page.wait_for_selector(".gs-chip")
            return page

        yield open_page
    assert not complaints, complaints


def _here(address: str, url: str) -> bool:
    return address.startswith((url.split("?")[0], "data:", "blob:"))
