"""The real page under the clock: `app.py` in a process of its own, driven as a program and as a person drive it.

Owns the app's process, the API's client and the browser, each in turn with the bare loop. Knows no torch; it is given
the bare loop as a function. The browser is optional, because only the tests' requirements bring one.
"""

import json
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from operator import truediv
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import psutil

from decoding.errors import ModelError
from decoding.limits import MAX_CHOICES
from decoding.run import Request

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROOT = Path(__file__).resolve().parents[2]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
READY = "Greedyscope is at "

BareLoop = Callable[[int], tuple[float, float]]
"""steps → (seconds in all, seconds of the first forward pass)."""
Say = Callable[[str], None]

# Presses Run and waits for the panel: the milliseconds to the first bars and to the last step.
# The panel writes its state and draws in one task, and an observer is told when the task is done.
_CLICK_JS = """() => new Promise((resolve, reject) => {
    const start = performance.now();
    const before = document.querySelector("#panel .gs-prompt");  // each run writes a new one
    let first = null;
    const observer = new MutationObserver(() => {
        if (before.isConnected) return;  // still the last run
        const text = document.querySelector("#panel .gs-state").textContent;
        const [, step, of] = text.match(/^Step (\\d+) of (\\d+)/) ?? [];
        const [, done] = text.match(/^(\\d+) steps?,/) ?? [];
        const now = performance.now() - start;
        if (step || done) first ??= now;
        if (done || (step && step === of)) { observer.disconnect(); resolve([first, now]); }
    });
    observer.observe(document.querySelector("#panel"), { childList: true, characterData: true, subtree: true });
    setTimeout(() => reject(new Error("the panel never showed a last step")), 600000);
    document.querySelector("#run").click();
})"""


@dataclass(frozen=True, slots=True)
class PageTimes:
    """Medians over the same steps: the bare loop and its first forward pass, the API's client from request to last
    line, the browser from the click to the first bars and to the last step. `…_over_loop` is the median of the turns'
    ratios, above 1 where the page is slower. `resident_bytes` is the app's memory after them. None was not measured;
    `notes` say why.
    """

    steps: int
    loop_seconds: float
    first_forward_seconds: float
    client_seconds: float
    client_over_loop: float
    browser_seconds: float | None
    browser_over_loop: float | None
    first_bar_seconds: float | None
    resident_bytes: int
    notes: tuple[str, ...]


def measure_page(
    bare_loop: BareLoop, request: Request, *, model: str, options: Sequence[str], repeats: int, say: Say
) -> PageTimes:
    """Start the app with `options`, run it once for warmth, then let bare loop, client and browser take turns.

    No two runs ask for as many choices: equal requests are computed once, and one more choice costs nothing.
    """
    requests = (replace(request, top_k=choices) for choices in range(request.top_k, MAX_CHOICES + 1))
    notes: list[str] = []
    turns: list[tuple[float, ...]] = []
    with ExitStack() as stack:
        say("starting the page")
        url, process = stack.enter_context(app_process([f"--model={model}", *options]))
        client = _client(url)
        steps, _ = _time_client(client, next(requests), model)  # the model may end the text before
        page = _browser(stack, notes)
        if page:
            _fill(page, url, request)
            _click(page, next(requests))
        bare_loop(steps)
        for turn in range(repeats):
            say(f"the page, turn {turn + 1} of {repeats}")
            seconds = (*bare_loop(steps), _time_client(client, next(requests), model)[1])
            turns.append((*seconds, *(_click(page, next(requests)) if page else ())))
        resident = psutil.Process(process.pid).memory_info().rss
    loops, firsts, clients, *clicks = zip(*turns, strict=True)
    bars, browsers = clicks or ((), ())
    return PageTimes(
        steps=steps,
        loop_seconds=median(loops),
        first_forward_seconds=median(firsts),
        client_seconds=median(clients),
        client_over_loop=median(map(truediv, clients, loops)),
        browser_seconds=median(browsers) if browsers else None,
        browser_over_loop=median(map(truediv, browsers, loops)) if browsers else None,
        first_bar_seconds=median(bars) if bars else None,
        resident_bytes=resident,
        notes=tuple(notes),
    )


@contextmanager
def app_process(options: Sequence[str]) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """The app's address while it runs, and its process."""
    command = [sys.executable, str(ROOT / "app.py"), *options, "--host=127.0.0.1", "--port=0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = next((line for line in process.stdout or () if line.startswith(READY)), None)
            if line is None:
                raise ModelError(f"app.py ended (code {process.wait()}) before it served a page; see above.")
            yield line.removeprefix(READY).strip(), process
        finally:
            process.terminate()


def greedy_lines(url: str, model: str, prompt: str, *, steps: int) -> Iterator[str]:
    """A run's answer as it comes, over bare HTTP: importing the API's client takes a second."""
    body = json.dumps({"data": [prompt, steps, 5, model]}).encode()
    call = f"{url}gradio_api/call/greedy"
    with urlopen(urllib.request.Request(call, body, {"Content-Type": "application/json"})) as answer:
        event = json.load(answer)["event_id"]
    with urlopen(f"{call}/{event}") as answer:
        for line in answer:
            yield line.decode().replace('\\"', '"')


def _client(url: str) -> Any:
    from gradio_client import Client  # type: ignore[import-untyped]  # here: it takes a second to import

    return Client(url, verbose=False)


def _time_client(client: Any, request: Request, model: str) -> tuple[int, float]:
    """The steps of one run through the API, and its seconds."""
    started = perf_counter()
    job = client.submit(request.prompt, request.max_new_tokens, request.top_k, model, api_name="/greedy")
    job.result()  # the last value; the others came before it
    return job.outputs()[-1].count("\n") - 2, perf_counter() - started  # less the first line and the last


def _browser(stack: ExitStack, notes: list[str]) -> "Page | None":
    """A page in a real browser, where there is one; otherwise a note."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        notes.append("The browser was not measured: playwright is not installed (tests/requirements.txt has it).")
        return None
    playwright = stack.enter_context(sync_playwright())
    path = next(filter(None, map(shutil.which, BROWSERS)), None) or playwright.chromium.executable_path
    if not Path(path).exists():
        notes.append(f"The browser was not measured: none of {', '.join(BROWSERS)} is there, nor Playwright's own.")
        return None
    browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
    stack.callback(browser.close)
    page = browser.new_page()
    page.set_default_timeout(60_000)  # a busy machine's
    return page


def _fill(page: "Page", url: str, request: Request) -> None:
    page.goto(url)
    page.wait_for_selector("#panel .gs-plotted")  # its scripts are there
    page.wait_for_selector("#facts p[data-sentence]", state="attached")  # and Gradio has drawn the rest of it
    page.fill("#prompt textarea", request.prompt)
    page.fill("#steps input", str(request.max_new_tokens))


def _click(page: "Page", request: Request) -> tuple[float, float]:
    """The seconds from a click on Run to the first bars, and to the last step."""
    page.wait_for_selector("#run:not([disabled])")
    page.fill("#choices input", str(request.top_k))
    first, last = page.evaluate(_CLICK_JS)
    return first / 1000, last / 1000
