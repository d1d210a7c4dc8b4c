"""A real Chromium for the page's tests: the system's, or Playwright's own, or Debian's package; without one they fail.

Owns the fixtures `browser` and `visit`, and what every visit is held to: no error in the console, nothing fetched from
another machine.
"""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from tempfile import gettempdir
from typing import Any
from urllib.parse import urlsplit

import gradio as gr
import pytest
from filelock import FileLock
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Playwright, expect, sync_playwright

import app as application
from decoding.page.gradio_compat.session_limits import SessionLimits

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# What Playwright leaves out, and the address bar's two popups: web pages of their own, made anew for every window, that
# no test sees. They took a quarter of what a visit costs.
LEFT_OUT = (
    "AvoidUnnecessaryBeforeUnloadCheckSync,DestroyProfileOnBrowserClose,HttpsUpgrades,HttpsFirstBalancedModeAutoEnable,"
    "LensOverlay,MediaRouter,PaintHolding,ThirdPartyStoragePartitioning,AvoidCorsURLLoaderRestartOnRedirect,"
    "TcpPortRandomizationWin,OptimizationHints,NetworkTimeServiceQuerying,AimEnabled,PreconnectToSearch,"
    "WebUIOmniboxPopup,WebUIOmniboxAimPopup"
)
QUIET = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    f"--disable-features={LEFT_OUT}",
)

BROWSERS_PATIENCE_ROUNDS = 600
"""A browser that shares its cores with all of this may open its stream of events later than any visitor's would."""

Visit = Callable[..., Page]
Profile = Callable[[str], BrowserContext]

expect.set_options(timeout=60_000)  # these machines are shared; a condition that holds is seen at once all the same


def one_installs() -> FileLock:
    """Held by whoever installs something, since packages are installed one at a time, and tests run three at a time."""
    return FileLock(Path(gettempdir()) / "greedyscope-tests-install.lock")


def chromium() -> str:
    """The path of a Chromium, installed first if there is none. Raises RuntimeError with what was tried."""
    with one_installs():
        return _chromium()


def _chromium() -> str:
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
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="session")
def browser(playwright: Playwright) -> Iterator[Browser]:
    launched = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox", *QUIET])
    yield launched
    launched.close()


@pytest.fixture(scope="session")
def profile_of(playwright: Playwright, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Profile]:
    """A browser in a language, with a profile on the disk. It keeps the compiled scripts from one visit to the next,
    as a visitor's own does, so that a visit takes a third of the time.
    """
    with ExitStack() as stack:

        @cache
        def launched(locale: str) -> BrowserContext:
            context = playwright.chromium.launch_persistent_context(
                tmp_path_factory.mktemp("profile"),
                executable_path=chromium(),
                args=["--no-sandbox", *QUIET],
                locale=locale,
            )
            stack.callback(context.close)
            return context

        yield launched


def forget(page: Page, url: str) -> None:
    """Whatever an earlier visit stored goes."""
    parts = urlsplit(url)
    session = page.context.new_cdp_session(page)
    origin = f"{parts.scheme}://{parts.netloc}"
    session.send("Storage.clearDataForOrigin", {"origin": origin, "storageTypes": "all"})
    session.detach()


_ports: list[int] = []
"""Where pages of this process were served. `profile_of`'s browsers keep compiled scripts by their address, so a page at
an address that they know takes an eighth less of their time.
"""


def _port(host: str) -> int:
    while _ports:
        with suppress(OSError), socket.create_server((host, port := _ports.pop())):
            return port
    return application.free_port(host)


@contextmanager
def served(page: gr.Blocks, **options: Any) -> Iterator[str]:
    """The page on a port of its own; its address. `options` are those of `app.launch`."""
    host = "127.0.0.1"
    port = _port(host)
    options.setdefault("sessions", SessionLimits(patience_rounds=BROWSERS_PATIENCE_ROUNDS))
    url = application.launch(page, server_name=host, server_port=port, prevent_thread_lock=True, **options)
    try:
        yield url
    finally:
        page.close(verbose=False)
        _ports.append(port)


def tab(browser: Browser | BrowserContext) -> Page:
    """A page for what `visit` would not let pass, as patient as any other. Whoever opens it closes it."""
    page = browser.new_page()
    page.set_default_timeout(60_000)
    return page


def drawn(page: Page) -> Page:
    """The page, once all of it is there: Gradio draws it part by part, and the line about the model is written last."""
    page.wait_for_selector(".gs-chip")
    page.wait_for_selector("#facts p[data-sentence]", state="attached")
    return page


def frames_later(page: Page) -> Page:
    """The page, once the panel has drawn what it was asked to: in three frames at most, the open tab in the last."""
    page.evaluate("""new Promise((done) => {
        const wait = (frames) => requestAnimationFrame(frames > 1 ? () => wait(frames - 1) : done);
        wait(4);
    })""")
    return page


def open_settings(page: Page) -> Page:
    """On a phone, all fields but the prompt are behind one button."""
    button = page.locator("[data-settings]")
    if button.is_visible() and button.get_attribute("aria-expanded") == "false":
        button.click()
    return page


@pytest.fixture
def visit(browser: Browser, profile_of: Profile) -> Iterator[Visit]:
    """Open an address in a browser that knows nothing of other visits. At the end of the test, nothing may have gone
    wrong in any. `is_alone`: nor does any other visit come into this browser, whose rights or network the test changes.
    """
    complaints: list[str] = []
    visited: set[str] = set()
    with ExitStack() as stack:

        def open_page(
            url: str,
            *,
            width: int = 1280,
            height: int = 900,
            scheme: str = "light",
            locale: str = "en-US",
            waits: bool = True,
            is_alone: bool = False,
        ) -> Page:
            size: Any = {"width": width, "height": height}
            if is_alone or locale in visited:  # a test's second visit is another visitor's
                context = browser.new_context(viewport=size, color_scheme=scheme, locale=locale)  # type: ignore[arg-type]
                stack.callback(context.close)
                page = tab(context)
            else:
                visited.add(locale)
                page = tab(profile_of(locale))
                stack.callback(page.close)
                page.set_viewport_size(size)
                page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
                forget(page, url)
            page.on("console", lambda m: complaints.append(m.text) if _is_complaint(m) else None)
            page.on("pageerror", lambda e: complaints.append(str(e)) if not _is_of_leaving(str(e)) else None)
            page.on("request", lambda r: complaints.append(r.url) if not _here(r.url, url) else None)
            page.goto(url)
            if url.startswith("http"):
                return drawn(page)
            if waits:
                page.wait_for_selector(".gs-chip")  # a file holds the panel alone
            return page

        yield open_page
    assert not complaints, complaints


def _is_complaint(said: ConsoleMessage) -> bool:
    """What is said in the console, but for Gradio's words to a page that outlives its server, as a test may end both,
    or whose own reload cuts the stream that Gradio listens to.
    """
    its_own = ("Server stopped unexpectedly.", "Unexpected error Connection errored out.")
    is_its_own = any(words in said.text for words in its_own) or _is_of_leaving(said.text)
    return said.type in ("error", "warning") and not is_its_own


def _is_of_leaving(error: str) -> bool:
    """Gradio's client aborts its own stream where a page is left: one handler prints that, one does not catch it."""
    return error.startswith("AbortError: signal is aborted without reason") and "/assets/Index-" in error


def _here(address: str, url: str) -> bool:
    return address.startswith((url.split("?")[0], "data:", "blob:"))
