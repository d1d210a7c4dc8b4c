"""What an operator sets, or leaves as it is: the safe way, and the bounds of the line."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import gradio as gr
import httpx
import pytest

import app as application
from decoding.page.gradio_compat.session_limits import SessionLimits
from decoding.page.layout import FIELDS
from decoding.serving.admission import MAX_PER_SESSION, MAX_SECONDS, MAX_SERVED, MAX_WAITING, AdmissionQueue
from tests.browser import served
from tests.fakes import ScriptedEngine
from tests.page.http.strangers import lives

ROOT = Path(__file__).resolve().parents[3]


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
            run = next(one["id"] for one in wired if one["backend_fn"] and len(one["inputs"]) == len(FIELDS))
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
