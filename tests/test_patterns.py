"""Regular expressions over strangers' text take time in proportion to it: all of them, found in the code, are timed.

A pattern that doubles its text may take twice as long, and a little more for a busy machine; one with nested or
adjacent wildcards takes four times as long, or has no end.
"""

import ast
import itertools
import re
import subprocess
import sys
from pathlib import Path
from time import perf_counter

import pytest

ROOT = Path(__file__).resolve().parents[1]
PYTHON = [ROOT / "app.py", *sorted((ROOT / "decoding").rglob("*.py"))]
SCRIPTS = sorted((ROOT / "assets").rglob("*.js"))
FUNCTIONS = {"compile", "sub", "subn", "match", "search", "fullmatch", "findall", "finditer", "split"}
LITERAL = re.compile(
    r"""(?:^|[(,=:\[!&|?{};]|return)\s*/((?:[^/\\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+)/([a-z]*)""", re.MULTILINE
)
LENGTH = 50_000
"""Of the shorter text; the longer one has 100,000 characters."""
MOST = 3.2
"""How many times as long the doubled text may take: 2 is linear, 4 a square."""
SHORTEST = 0.004
"""Seconds below which a machine's hiccups are all that is measured."""


def python_patterns() -> dict[str, str]:
    found = {}
    for path in PYTHON:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
            if is_call and getattr(node.func.value, "id", "") == "re" and node.func.attr in FUNCTIONS:
                assert isinstance(node.args[0], ast.Constant), f"{path}:{node.lineno} makes a pattern of something else"
                found[f"{path.relative_to(ROOT)}:{node.lineno}"] = node.args[0].value
    return found


def script_patterns() -> dict[str, str]:
    found = {}
    for path in SCRIPTS:
        text = path.read_text("utf-8")
        assert "RegExp(" not in text, f"{path} makes a pattern of something else"
        for match in LITERAL.finditer(re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE)):
            found[f"{path.relative_to(ROOT)} {match[0].strip()[-60:]}"] = f"/{match[1]}/{match[2]}"
    return found


def attacks(pattern: str, length: int) -> list[str]:
    """Texts that a pattern may take long over: what it has letters for, over and over, alone and in pairs, and then
    something that fits nothing.
    """
    plain = re.sub(r"\\p\{\w+\}|\\[wdsbB]|\(\?[:=!<]+", "", pattern)
    letters = dict.fromkeys([*"a1 \n'-/=\t{", *re.sub(r"[\\^$*+?()|\[\]]", "", plain)])
    units = [*letters, *map("".join, itertools.permutations([*letters][:9], 2))]
    long = [part for part in re.split(r"[\\^$.*+?()|\[\]{}]", plain) if len(part) > 1]
    return [(unit * (length // len(unit) + 1))[:length] + end for unit in (*units, *long) for end in ("", "\x00")]


def ratio(run_of: "object", pattern: str) -> float:
    """The longest of all attacks at twice the length beside once, each the best of three."""
    worst = 0.0
    for short, long in zip(attacks(pattern, LENGTH), attacks(pattern, 2 * LENGTH), strict=True):
        for _ in range(4):  # a hiccup is no square
            once, twice = (seconds(pattern, text) for text in (short, long))
            if twice < SHORTEST or twice / max(once, 1e-9) < MOST:
                break
        else:
            worst = max(worst, twice / once)
    return worst


def seconds(pattern: str, text: str) -> float:
    begun = perf_counter()
    for _ in re.finditer(pattern, text):
        pass
    return perf_counter() - begun


PATTERNS = python_patterns()


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
def test_a_pattern_takes_time_in_proportion_to_the_text(pattern: str) -> None:
    assert ratio(None, pattern) < MOST


@pytest.mark.parametrize("pattern", [r"(a+)+=", r"\s*\s*=", r"a*$", r"<.*>.*b", r"-+$"])
def test_a_pattern_that_takes_a_square_would_be_found(pattern: str) -> None:
    """In a process of its own, since it may have no end."""
    code = f"from tests.test_patterns import *; sys.exit(ratio(None, {pattern!r}) < MOST)"
    try:
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, timeout=60)
    except subprocess.TimeoutExpired:
        return
    assert done.returncode == 0
