"""One graph that two processes build at once: real processes, over one cache."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import gguf_files
from tests.engines.onnx import test_gguf
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]
# Each logs its messages. The one that builds waits before the proof until the file `go` exists, a minute at most.
ENSURE = """
import sys, time
from pathlib import Path
from decoding.engines.onnx import graph_cache
source, log, go = map(Path, sys.argv[1:])
def report(message, fraction):
    with log.open("a") as file: print(message, file=file)
def prove(files):
    ends = time.monotonic() + 60
    while not go.exists() and time.monotonic() < ends: time.sleep(0.02)
    return True
graph_cache.prove = prove
print(graph_cache.ensure_graph(source, report=report).folder)
"""
PREPARING = ["Preparing m.gguf …", "Checking m.gguf …"]
WAITING = "Another process is preparing a model; m.gguf is next …"


@pytest.mark.usefixtures("drives_process")
def test_one_builds_the_graph_and_the_other_waits_and_takes_it(tmp_path: Path) -> None:
    source = gguf_files.write(tmp_path / "m.gguf", test_gguf.network("llama"), ["Q8_0"])
    cache, go, logs = tmp_path / "graphs", tmp_path / "go", [tmp_path / "one.log", tmp_path / "other.log"]
    processes = []
    for log in logs:
        log.touch()
        command = [sys.executable, "-c", ENSURE, str(source), str(log), str(go)]
        variables = os.environ | {"GREEDYSCOPE_CACHE": str(tmp_path)}
        processes.append(subprocess.Popen(command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, text=True))

    def reported() -> list[list[str]]:
        return sorted((log.read_text().splitlines() for log in logs), key=lambda lines: WAITING in lines)

    try:
        until(lambda: [lines[-1:] for lines in reported()] == [PREPARING[-1:], [WAITING]])
        assert {path.name[:7] for path in cache.iterdir()} == {"lock", "making-"}
    finally:
        go.touch()
        folders = [process.communicate(timeout=120)[0].strip() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    builder, waiter = reported()
    assert builder == PREPARING
    assert set(waiter) == {WAITING}
    assert folders[0] == folders[1]
    assert {path.name for path in cache.iterdir()} == {"lock", Path(folders[0]).name}
