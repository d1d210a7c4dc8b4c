"""A Space on ZeroGPU, emulated: every run in a fork, with pickled arguments and yields, ended when its reader has gone.

`tests/zero_gpu/spaces.py` stands for Hugging Face's package, in fresh processes that believe to be such a Space.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import app as application
import decoding
from decoding.bench import startup as bench
from decoding.bench.page import READY
from decoding.engines import zero_gpu
from decoding.errors import ModelError

ROOT = Path(__file__).resolve().parents[2]
Folder = Callable[[str], Path]


def variables(log: Path) -> dict[str, str]:
    path = os.pathsep.join([str(ROOT / "tests" / "zero_gpu"), str(ROOT)])
    return os.environ | {"SPACES_ZERO_GPU": "true", "SPACES_LOG": str(log), "PYTHONPATH": path}


def said(code: str, log: Path, *arguments: str) -> Any:
    """What a program prints, as JSON, in a fresh process on the emulated Space."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *arguments],
        cwd=ROOT,
        env=variables(log),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


RUNS = """
import json, os, sys
from decoding.engines.zero_gpu import ZeroGpuEngine, steps_seconds, _LOADED
import decoding
from decoding.errors import GreedyscopeError

plain = decoding.load(sys.argv[1], device="cpu")
lent = ZeroGpuEngine(plain)
here = decoding.trace(plain, "abc", max_new_tokens=6, top_k=3)  # before the fork, with all of torch's threads
there = decoding.trace(lent, "abc", max_new_tokens=6, top_k=3)
fork = [decoding.branch(e, here, 2, here.steps[2].candidates[1].token_id, max_new_tokens=6) for e in (plain, lent)]
read = [decoding.score(e, "abc", "def", top_k=3) for e in (plain, lent)]
kept = len(plain.memory)
left = decoding.greedy_search(lent, "abc", max_new_tokens=60, top_k=3)
first = next(left)
left.close()

def refused(do):
    try:
        do()
    except GreedyscopeError as error:
        return str(error)

class Broken:
    info, end_ids, context_length = plain.info, plain.end_ids, None
    def steps(self, *args, **options):
        raise self.error
        yield

def broken(error):
    _LOADED[plain.info.id] = Broken()
    Broken.error = error
    return refused(lambda: decoding.trace(lent, "abc", max_new_tokens=2, top_k=3))

print(json.dumps({
    "same": here == there, "branch": fork[0] == fork[1], "score": read[0] == read[1],
    "varies": len(set(here.generated_token_ids)),
    "kept": kept, "first": first == here.steps[0], "pid": os.getpid(),
    "beam": refused(lambda: decoding.beam_search(lent, "abc", max_new_tokens=2, num_beams=2, top_k=3)),
    "ours": broken(decoding.ModelError("The model's output is not a number.")),
    "theirs": broken(RuntimeError("secret")),
}))
"""


def test_runs_in_a_fork_are_the_runs_of_this_process(tiny_folder: Folder, tmp_path: Path) -> None:
    found = said(RUNS, tmp_path / "log", str(tiny_folder("llama")))
    assert found["same"]
    assert found["branch"]
    assert found["score"]
    assert found["varies"] > 1
    assert found["first"]
    assert found["kept"] == 2  # the plain run and its branch: what a fork keeps is lost with it
    assert found["beam"].startswith(str(tiny_folder("llama")))
    assert "does not run in this process" in found["beam"]
    assert found["ours"] == "The model's output is not a number."
    assert found["theirs"] == (
        "The shared GPU could not be had, or was taken back: ZeroGPU worker error: RuntimeError. Try again later."
    )
    calls = [line.split() for line in (tmp_path / "log").read_text("utf-8").splitlines()]
    pids = {call[1] for call in calls if len(call) == 2}
    assert len(pids) == 6  # trace, branch, score, the one that was left, two that failed
    assert str(found["pid"]) not in pids


LEFT = """
import os, sys, time
import decoding
from decoding.engines.zero_gpu import ZeroGpuEngine, _LOADED

plain = decoding.load(sys.argv[1], device="cpu")
lent = ZeroGpuEngine(plain)

class Waiting:
    def steps(self, *args, **options):
        for index, readout in enumerate(plain.steps(*args, **options)):
            while index and "left" not in open(os.environ["SPACES_LOG"]).read():
                time.sleep(0.01)
            yield readout

_LOADED[plain.info.id] = Waiting()
steps = decoding.greedy_search(lent, "abc", max_new_tokens=80, top_k=3)
next(steps)
steps.close()
print("null")
"""


def test_a_run_that_is_left_ends_after_the_step_under_way(tiny_folder: Folder, tmp_path: Path) -> None:
    said(LEFT, tmp_path / "log", str(tiny_folder("llama")))
    duration, *events = (tmp_path / "log").read_text("utf-8").splitlines()
    assert duration.startswith("15 ")  # 10 + 3 / 2000 + 80 × 0.06
    assert events in (["yield", "left"], ["yield", "left", "yield"])  # it may be left while the first is on its way


def test_the_same_app_serves_there(tiny_folder: Folder, tmp_path: Path) -> None:
    folder = str(tiny_folder("llama"))
    command = [sys.executable, "-W", "ignore", "app.py", "--port=0", "--device=cpu", f"--model={folder}"]
    log = tmp_path / "log"
    with subprocess.Popen(command, cwd=ROOT, env=variables(log), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            line = process.stdout.readline()
            assert line.startswith(READY), line
            url = line.removeprefix(READY).strip()
            assert any('"index"' in line for line in bench._lines(url, folder))
            assert "yield" in log.read_text("utf-8")  # it came from a fork
        finally:
            process.terminate()


def test_elsewhere_the_same_engine_runs_in_this_process(tiny_folder: Folder) -> None:
    plain = decoding.load(str(tiny_folder("llama")), device="cpu")
    lent = zero_gpu.ZeroGpuEngine(plain)
    runs = [decoding.trace(engine, "abc", max_new_tokens=4, top_k=3) for engine in (plain, lent)]
    assert runs[0] == runs[1]
    assert len(plain.memory) == 1
    assert "spaces" not in sys.modules


def test_a_fault_that_nobody_foresaw_is_told_without_its_words(tiny_folder: Folder, monkeypatch: Any) -> None:
    lent = zero_gpu.ZeroGpuEngine(decoding.load(str(tiny_folder("llama")), device="cpu"))
    monkeypatch.setattr(zero_gpu, "_LOADED", {})
    with pytest.raises(ModelError, match=r"taken back: KeyError Try again later\.$"):
        decoding.trace(lent, "abc", max_new_tokens=4, top_k=3)


@pytest.mark.parametrize(
    ("tokens", "steps", "seconds"), [(1, 1, 11), (3, 64, 14), (1_000, 256, 26), (50_000, 256, 51), (10**6, 1, 120)]
)
def test_the_gpu_is_asked_for_as_long_as_the_request_needs(tokens: int, steps: int, seconds: int) -> None:
    assert zero_gpu.steps_seconds("starter", [0] * tokens, steps, 5, ()) == seconds
    assert zero_gpu.score_seconds("starter", [0] * tokens, [0], 5) <= seconds


def test_a_space_says_where_to_listen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert application.settings([]).host == "127.0.0.1"
    monkeypatch.setenv("GRADIO_SERVER_NAME", "0.0.0.0")  # as Spaces set it
    assert application.settings([]).host == "0.0.0.0"
    monkeypatch.setenv("GREEDYSCOPE_HOST", "127.0.0.2")
    assert application.settings([]).host == "127.0.0.2"
