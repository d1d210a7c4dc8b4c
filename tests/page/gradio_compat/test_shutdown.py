"""The end of a server that is told to end: by `docker stop`, by a supervisor, by Control-C."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from time import monotonic

import httpx
import pytest

import app as application
from decoding.errors import BusyError
from decoding.page.gradio_compat.shutdown import LIMIT_SECONDS, close_page
from decoding.record.trace import Trace
from tests import tiny_models
from tests.browser import served
from tests.fakes import ScriptedEngine

ROOT = Path(__file__).resolve().parents[3]
STEPS = 20  # enough to be in the middle of, and few enough for a busy machine in the seconds that a run is given to end


@pytest.fixture
def server(drives_process: None, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """The app in a process of its own over a small model, 10 ms a step: the process, its address, the model."""
    network = tiny_models.network("llama", hidden_size=512, intermediate_size=2048, num_hidden_layers=8)
    model = str(tiny_models.save(tmp_path / "model", network))
    command = [sys.executable, "app.py", "--model", model, "--device", "cpu", "--port", "0"]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True, env=os.environ)
    assert process.stdout
    try:
        (url,) = re.findall(r"Greedyscope is at (\S+)", process.stdout.readline())
        yield process, url, model
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_told_to_end_in_mid_run(server: tuple[subprocess.Popen[str], str, str], tmp_path: Path) -> None:
    """The run under way ends, nobody new is let in, and the exit code says that all is well."""
    process, url, model = server
    with httpx.Client(base_url=url, timeout=60) as client:
        event = client.post("/gradio_api/call/greedy", json={"data": ["a b c", STEPS, 3, model]}).json()["event_id"]
        last = ""
        with client.stream("GET", f"/gradio_api/call/greedy/{event}") as events:
            for line in events.iter_lines():
                if '"index' in line and '"index' not in last:
                    process.send_signal(signal.SIGTERM)
                    begun = monotonic()
                last = line if line.startswith("data: [") else last
    trace = Trace.from_jsonl(json.loads(last[6:])[0])
    assert (trace.stop_reason, len(trace.steps)) == ("steps", STEPS)
    assert process.wait(60) == 0
    assert monotonic() - begun < LIMIT_SECONDS + 60  # of which 60 are a busy machine's
    with pytest.raises(httpx.ConnectError):
        httpx.get(url, timeout=60)
    said = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines() if line.startswith("{")]
    words = {line["what"]: line for line in said}
    assert words["closing"]["running"] <= 1
    assert words["closed"]["left"] == 0
    assert words["run"]["outcome"] == "done"


def is_refused(url: str) -> bool:
    with suppress(httpx.TransportError):  # whoever was about to be let in is cut off
        httpx.get(f"{url}healthz", timeout=600)
        return False
    return True


@pytest.mark.usefixtures("drives_server")
def test_nobody_is_let_in_while_a_run_goes_on_to_its_end() -> None:
    """The model is held in mid-run for as long as it takes to be refused, so that no machine is too slow for this."""
    engine = ScriptedEngine(delay=600)
    page = application.build_app(lambda name, report: engine, ["scripted"])
    asked = {"data": ["a", 3, 2, "scripted"]}
    with served(page) as url, httpx.Client(base_url=url, timeout=600) as client, ThreadPoolExecutor(2) as others:
        try:
            event = client.post("/gradio_api/call/greedy", json=asked).json()["event_id"]
            answer = others.submit(client.get, f"/gradio_api/call/greedy/{event}")
            assert engine.began.wait(600)
            closed = others.submit(close_page, page, runs_seconds=600.0)
            end = monotonic() + 120  # the server looks ten times a second whether it is to end
            while not is_refused(url) and monotonic() < end:
                pass
            assert is_refused(url)
            with pytest.raises(BusyError, match="The server is being restarted"):  # as who waits in line is told
                page.health.queue.check_open()
            assert (engine.begun, page.health.queue.served, closed.done()) == (1, 1, False)
        finally:
            engine.let_go.set()
        closed.result(600)
    last = next(line for line in reversed(answer.result(600).text.splitlines()) if line.startswith("data: ["))
    trace = Trace.from_jsonl(json.loads(last[6:])[0])
    assert (trace.stop_reason, len(trace.steps)) == ("steps", 3)
