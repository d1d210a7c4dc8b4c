"""Two replicas behind HAProxy, with the very configuration that the README shows: every visitor is served."""

import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

import app as application
from tests.browser import served
from tests.fakes import ScriptedEngine

ROOT = Path(__file__).resolve().parents[1]

# Gradio makes event loops and leaves them open where the thread that launches a page has none; a browser's is one.
pytestmark = pytest.mark.usefixtures("browser")


def haproxy() -> str:
    """Its path, installed first where there is none."""
    if not (path := shutil.which("haproxy")):
        root = "" if os.geteuid() == 0 else "sudo -n "
        command = f"{root}apt-get update && {root}apt-get install -y haproxy"
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=600, check=False)
        path = shutil.which("haproxy")
        assert path, f"The proxy's test needs HAProxy, and it could not be had: {done.stderr[-300:]}"
    return path


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[tuple[str, list[ScriptedEngine]]]:
    readme = (ROOT / "README.md").read_text("utf-8")
    (configuration,) = re.findall(r"<!-- haproxy -->\n```haproxy\n(.*?)```", readme, re.DOTALL)
    engines = [ScriptedEngine(), ScriptedEngine()]
    with ExitStack() as stack:
        for engine, port in zip(engines, ("7861", "7862"), strict=True):
            page = application.build_app(lambda name, report, engine=engine: engine, ["scripted"])
            url = stack.enter_context(served(page))
            httpx.post(f"{url}gradio_api/call/greedy", json={"data": ["a", 1, 2, "scripted"]})  # so that it is ready
            configuration = configuration.replace(port, httpx.URL(url).netloc.decode().split(":")[1])
        front = str(application.free_port("127.0.0.1"))
        file = tmp_path / "haproxy.cfg"
        file.write_text(configuration.replace("8080", front))
        process = subprocess.Popen([haproxy(), "-f", str(file), "-db"], stderr=subprocess.DEVNULL)
        try:
            for _ in range(600):
                assert process.poll() is None, "HAProxy refused the README's configuration"
                try:
                    if httpx.get(f"http://127.0.0.1:{front}/readyz").status_code == 200:
                        break
                except httpx.TransportError:
                    threading.Event().wait(0.05)
            yield f"http://127.0.0.1:{front}/", engines
        finally:
            process.terminate()
            process.wait(20)


def test_twelve_of_twelve_visitors_are_served_by_two_replicas(proxy: tuple[str, list[ScriptedEngine]]) -> None:
    url, engines = proxy
    before = [engine.begun for engine in engines]
    replicas = set()
    for number in range(12):
        with httpx.Client(base_url=url, timeout=60) as visitor:  # with cookies of its own
            assert visitor.get("/").status_code == 200
            replicas.add(visitor.cookies["GREEDYSCOPE"])
            data = {"data": [f"visitor {number}", 4, 2, "scripted"]}
            event = visitor.post("gradio_api/call/greedy", json=data).json()["event_id"]
            answer = visitor.get(f"gradio_api/call/greedy/{event}").text
            assert answer.rsplit("event: ", 1)[1].startswith("complete"), answer
    assert replicas == {"one", "two"}
    assert all(engine.begun > count for engine, count in zip(engines, before, strict=True))
