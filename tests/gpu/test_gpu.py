"""The GPU check as a test: on a GPU where there is one, and everywhere its rehearsal on a CPU, to the end."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
PARTS = {"machine", "families", "plain families", "edges", "faults", "bandwidth", "crowd", "readouts", "long prompt"}


def check(out: Path, *options: str) -> tuple[subprocess.CompletedProcess[str], dict]:
    command = [sys.executable, "-W", "ignore", "-m", "tests.gpu", f"--out={out}", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    return done, json.loads(out.read_text("utf-8")) if out.exists() else {}


def test_the_check_of_a_gpu_runs_to_its_end_on_a_cpu(tmp_path: Path) -> None:
    done, found = check(tmp_path / "gpu.json", "--rehearse", "--seconds=600")
    assert done.returncode == 0, f"{done.stderr}\n{found}"
    assert done.stderr.splitlines()[-1] == "failed: nothing; skipped: nothing"
    assert found["failed"] == []
    assert found.keys() >= PARTS
    families = [family for family in found["families"].values() if isinstance(family, dict)]
    assert len(families) == 10
    assert all(family["rows"]["ok"] and family["oracle"]["ok"] for family in families)


def test_a_check_that_is_cut_short_tells_what_it_found(tmp_path: Path) -> None:
    done, found = check(tmp_path / "gpu.json", "--rehearse", "--seconds=0")
    assert done.returncode == 0
    assert found["machine"]["ok"]
    assert "skipped" in found["families"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA GPU")
def test_without_a_gpu_the_check_says_so(tmp_path: Path) -> None:
    done, found = check(tmp_path / "gpu.json")
    assert done.returncode == 1
    assert done.stderr.startswith("This machine has no CUDA GPU.")
    assert found == {}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA GPU")
def test_on_this_gpu_all_is_right(tmp_path: Path) -> None:
    done, found = check(tmp_path / "gpu.json")
    assert found["failed"] == [], done.stderr
