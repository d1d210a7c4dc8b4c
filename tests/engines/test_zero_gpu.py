"""A Space on ZeroGPU: the real `spaces` package in fresh processes (see `tests.zero_gpu_space`), where every run is in
a fork, with pickled arguments and yields, and ends when its reader has gone.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

import app as application
import decoding
from decoding.bench.page_times import READY, greedy_lines
from decoding.engines import zero_gpu
from decoding.engines.local_engine import LocalEngine
from decoding.errors import ModelError
from decoding.messages import Message
from decoding.record.trace import Trace
from tests.watched import watched

ROOT = Path(__file__).resolve().parents[2]
Folder = Callable[[str], Path]


def variables(log: Path) -> dict[str, str]:
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return os.environ | {"SPACES_LOG": str(log), "PYTHONPATH": path}


def run(code: str, log: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A program in a fresh process on such a Space."""
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"import tests.zero_gpu_space as space\n{code}", *arguments],
        cwd=ROOT,
        env=variables(log),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def said(code: str, log: Path, *arguments: str) -> Any:
    """What a program prints last, as JSON."""
    done = run(code, log, *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def calls(log: Path, kind: str) -> list[dict[str, str]]:
    """What the scheduler was asked of one kind."""
    lines = [line.partition("?") for line in log.read_text("utf-8").splitlines()]
    return [dict(pair.split("=") for pair in asked.split("&")) for path, _, asked in lines if path == f"/{kind}"]


LOADED = """
import json, os, sys
from decoding.engines.zero_gpu import ZeroGpuEngine, _LOADED
import decoding
from decoding.page.gradio_compat.shutdown import end_children
from decoding.errors import GreedyscopeError
from decoding.messages import Message
from spaces.zero import torch as spaces_torch

engine = decoding.load(sys.argv[1])
lent = ZeroGpuEngine(engine)
spaces_torch.pack()  # as it does when the page is launched
"""
RUNS = (
    LOADED
    + """
runs = [decoding.trace(lent, "abc", max_new_tokens=6, top_k=3) for _ in range(2)]
space.IDLE.set()
runs.append(decoding.trace(lent, "abc", max_new_tokens=6, top_k=3))
fork = decoding.branch(lent, runs[0], 2, runs[0].steps[2].candidates[1].token_id, max_new_tokens=6)
read = decoding.score(lent, "abc", "def", top_k=3)

def refused(do):
    try:
        do()
    except GreedyscopeError as error:
        return type(error).__name__, str(error), error.field

class Broken:
    info, end_ids, context_length = engine.info, engine.end_ids, None
    def steps(self, *args, **options):
        raise self.error
        yield

def broken(error):
    _LOADED[engine.info.id] = Broken()
    Broken.error = error
    space.IDLE.clear()  # a new worker, which has this one
    return refused(lambda: decoding.trace(lent, "abc", max_new_tokens=2, top_k=3))

print(json.dumps({
    "ids": [run.generated_token_ids for run in (*runs, fork)], "score": [step.picked.logprob for step in read.steps],
    "probabilities": [candidate.probability for step in runs[0].steps for candidate in step.candidates],
    "fork": fork.steps[2].picked.token_id, "device": engine.info.device, "why": engine.info.why, "pid": os.getpid(),
    "beams": decoding.beam_search(lent, "abc", max_new_tokens=4, num_beams=3, top_k=3).generated_token_ids,
    "lens": decoding.lens(lent, runs[0], 4).to_json(), "without": decoding.leave_one_out(lent, runs[0], 4).to_json(),
    "proof": refused(lambda: decoding.agreement(lent, runs[0])),
    "ours": broken(decoding.ModelError("The model's output is not a number.")),
    "request": broken(decoding.RequestError(Message("line.restart"), field="beams")),
    "theirs": broken(RuntimeError("secret")),
}), flush=True)
end_children()  # or they would keep this program's output open
os._exit(0)
"""
)


def assert_same_reasons(found: Any, plain: LocalEngine, here: Trace) -> None:
    """Why a step picked its token, as the fork says and as this process does."""
    lens, theirs = decoding.lens(plain, here, 4), json.loads(found["lens"])["lens"]
    assert len(theirs["layers"]) == len(lens.layers) == plain.network.layers + 1
    assert [token["token_id"] for token in theirs["tokens"]] == [token.token_id for token in lens.tokens]
    for one, other in zip(lens.layers, theirs["layers"], strict=True):
        assert other["logprobs"] == pytest.approx(one.logprobs, abs=1e-5)
    left_out, parts = decoding.leave_one_out(plain, here, 4), json.loads(found["without"])["leave_one_out"]["parts"]
    assert [part["logprob"] for part in parts] == pytest.approx([part.logprob for part in left_out.parts], abs=1e-5)
    assert [part["instead"]["token_id"] for part in parts] == [part.instead.token_id for part in left_out.parts]
    assert len(parts) > 4


@pytest.mark.usefixtures("drives_process")
def test_runs_in_a_fork_are_the_runs_of_this_process(tiny_folder: Folder, tmp_path: Path) -> None:
    plain = decoding.load(str(tiny_folder("llama")), device="cpu")
    here = decoding.trace(plain, "abc", max_new_tokens=6, top_k=3)
    found = said(RUNS, tmp_path / "log", str(tiny_folder("llama")))
    assert found["device"] == "cuda:0"
    assert found["why"].endswith("; the plain loop, because a lent GPU keeps no CUDA graph")
    *runs, fork = [tuple(ids) for ids in found["ids"]]
    assert set(runs) == {here.generated_token_ids}
    assert len(set(runs[0])) > 1
    probabilities = [candidate.probability for step in here.steps for candidate in step.candidates]
    assert found["probabilities"] == pytest.approx(probabilities, abs=1e-6)
    other = decoding.branch(plain, here, 2, here.steps[2].candidates[1].token_id, max_new_tokens=6)
    assert fork == other.generated_token_ids
    assert found["fork"] == other.steps[2].picked.token_id
    score = [step.picked.logprob for step in decoding.score(plain, "abc", "def", top_k=3).steps]
    assert found["score"] == pytest.approx(score, abs=1e-5)
    searched = decoding.beam_search(plain, "abc", max_new_tokens=4, num_beams=3, top_k=3)
    assert tuple(found["beams"]) == searched.generated_token_ids
    assert_same_reasons(found, plain, here)
    assert "does not run in this process" in found["proof"][1]
    assert found["ours"] == ["ModelError", "The model's output is not a number.", "model"]
    assert found["request"] == [
        "RequestError",
        Message("line.restart"),
        "beams",
    ]
    assert found["theirs"][1].startswith("The shared GPU could not be obtained, or was taken back: ")
    assert "RuntimeError" in found["theirs"][1]
    assert "secret" not in found["theirs"][1]
    # three runs, branch, score, beams, lens, without, three that failed
    assert len(calls(tmp_path / "log", "schedule")) == 11
    pids = [call["pid"] for call in calls(tmp_path / "log", "allow")]
    assert len(pids) == len(set(pids)) < 10  # the idle worker served more than one
    assert str(found["pid"]) not in pids


LEFT = (
    LOADED
    + """
import time
steps = decoding.greedy_search(lent, "abc", max_new_tokens=80, top_k=3)
first = next(steps)
begun = time.monotonic()
steps.close()
print(json.dumps(first.index), flush=True)
end_children()
os._exit(0)
"""
)


@pytest.mark.usefixtures("drives_process")
def test_leaving_a_run_releases_the_gpu(tiny_folder: Folder, tmp_path: Path) -> None:
    assert said(LEFT, tmp_path / "log", str(tiny_folder("llama"))) == 0
    assert [call["durationSeconds"] for call in calls(tmp_path / "log", "schedule")] == [
        "15"
    ]  # 10 + 3/2000 + 80 × 0.06
    assert [call["fail"] for call in calls(tmp_path / "log", "release")] == ["false"]


ELSEWHERE = """
import sys, threading
import decoding.engines.zero_gpu, decoding
from decoding.errors import ModelError
from decoding.record.trace import Trace
def load():
    try:
        decoding.load(sys.argv[1])
    except Exception as error:
        while error:
            print(error)
            error = error.__cause__
thread = threading.Thread(target=load)
thread.start()
thread.join()
"""


@pytest.mark.usefixtures("drives_process")
def test_no_other_thread_can_load(tiny_folder: Folder, tmp_path: Path) -> None:
    """What `ZeroGpuEngine` says of itself. Where this fails, `spaces` has become kinder."""
    done = run(ELSEWHERE, tmp_path / "log", str(tiny_folder("llama")))
    assert "Low-level CUDA init" in done.stdout, done.stderr


APP = "import sys, app; sys.argv[0] = 'app.py'; app.main()"


@pytest.mark.usefixtures("drives_process")
def test_the_same_app_serves_there_and_leaves_no_process(tiny_folder: Folder, tmp_path: Path) -> None:
    folder, log = str(tiny_folder("llama")), tmp_path / "log"
    command = [sys.executable, "-W", "ignore", "-c", f"import tests.zero_gpu_space\n{APP}"]
    command += ["--port=0", f"--model={folder}"]
    with subprocess.Popen(command, cwd=ROOT, env=variables(log), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            line = next((line for line in process.stdout if line.startswith(READY)), "")
            url = line.removeprefix(READY).strip()
            assert url, "the page did not come up"
            assert any('"index"' in line for line in greedy_lines(url, folder, "abc", steps=1))
            workers = [int(call["pid"]) for call in calls(log, "allow")]  # it came from a fork
            assert workers
            assert all(map(psutil.pid_exists, workers))  # idle, for the next run
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
            end = time.monotonic() + 10
            while any(map(psutil.pid_exists, workers)) and time.monotonic() < end:
                time.sleep(0.05)
            assert not any(map(psutil.pid_exists, workers))
        finally:
            process.kill()


@pytest.mark.usefixtures("drives_process")
def test_a_model_that_cannot_be_loaded_there_ends_the_start(tiny_folder: Folder, tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "config.json").write_text((tiny_folder("llama") / "config.json").read_text("utf-8"), "utf-8")
    done = run(APP, tmp_path / "log", "--port=0", f"--model={folder}")
    assert done.returncode == 1
    assert f"{folder} has no tokenizer.json, and transformers can make no tokenizer" in done.stderr
    assert READY not in done.stdout


def test_elsewhere_the_same_engine_runs_in_this_process(tiny_folder: Folder) -> None:
    plain = decoding.load(str(tiny_folder("llama")), device="cpu")
    lent = zero_gpu.ZeroGpuEngine(plain)
    runs = [decoding.trace(engine, "abc", max_new_tokens=4, top_k=3) for engine in (plain, lent)]
    assert runs[0] == runs[1]
    assert len(plain.prefix_cache) == 1
    assert "spaces" not in sys.modules


def test_an_unexpected_error_is_shown_without_its_message(tiny_folder: Folder) -> None:
    def failing(_: Any) -> Any:
        def fail(*_: Any, **__: Any) -> Any:
            raise KeyError("what a visitor wrote")

        return fail

    engine = decoding.load(str(tiny_folder("llama")), device="cpu")
    lent = zero_gpu.ZeroGpuEngine(watched(engine, read=failing))
    with pytest.raises(ModelError, match=r"taken back: KeyError Try again later\.$"):
        decoding.trace(lent, "abc", max_new_tokens=4, top_k=3)


@pytest.mark.parametrize(
    ("tokens", "steps", "seconds"), [(1, 1, 11), (3, 64, 14), (1_000, 256, 26), (50_000, 256, 51), (10**6, 1, 120)]
)
def test_the_gpu_is_asked_for_as_long_as_the_request_needs(tokens: int, steps: int, seconds: int) -> None:
    assert zero_gpu.steps_seconds("starter", [0] * tokens, steps, 5, ()) == seconds
    assert zero_gpu.score_seconds("starter", [0] * tokens, [0], 5) <= seconds
    assert zero_gpu.layers_seconds("starter", [0] * tokens, [0]) <= seconds


@pytest.mark.parametrize(
    ("tokens", "parts", "seconds"), [(5, 5, 11), (1_000, 64, 16), (1_000, 256, 43), (10**6, 1, 120)]
)
def test_leaving_out_asks_once_for_all_its_parts(tokens: int, parts: int, seconds: int) -> None:
    spans = [(first, 1) for first in range(tokens - parts, tokens)]
    assert zero_gpu.without_seconds("starter", [0] * tokens, spans, [5]) == seconds


def test_a_space_says_where_to_listen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert application.settings([]).host == "127.0.0.1"
    monkeypatch.setenv("GRADIO_SERVER_NAME", "0.0.0.0")  # as Spaces set it
    assert application.settings([]).host == "0.0.0.0"
    monkeypatch.setenv("GREEDYSCOPE_HOST", "127.0.0.2")
    assert application.settings([]).host == "127.0.0.2"
