"""A rehearsal of `python -m tests.load --hostile`: the real page and model under attack, its clocks not looked at."""

import subprocess
import sys
from pathlib import Path

import pytest

from decoding.engines.torch.engine import LocalEngine
from tests.attacks import ATTACKS

ROOT = Path(__file__).resolve().parents[1]
REHEARSED = ("headers", "connections", "answers for nobody")
HOLDS_ON_ANY_MACHINE = (
    "errors: none",
    "alive: yes",
    "memory of its own at most:",
    "in the log beside its lines: nothing",
)


@pytest.mark.usefixtures("drives_process")
def test_a_visitor_is_served_under_attack(starter: LocalEngine) -> None:  # which is prepared by then
    command = [sys.executable, "-m", "tests.load", "--hostile", "--seconds=0.5", f"--only={','.join(REHEARSED)}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=540)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = done.stdout.splitlines()
    for attack in (f"{name}, {which}" for name in REHEARSED for which in ("as it was seen", "another of its kind")):
        assert attack in lines, done.stdout
        told = lines[lines.index(attack) + 1 :][:7]
        for what in HOLDS_ON_ANY_MACHINE:
            assert any(line.startswith(f"ok   {what}") for line in told), (attack, told)


def test_each_kind_of_attack_has_one_more_of_its_kind() -> None:
    assert all(len(set(pair)) == 2 for pair in ATTACKS.values())
    assert set(REHEARSED) <= ATTACKS.keys()
