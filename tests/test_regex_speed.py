"""Regular expressions over strangers' text take time in proportion to it: all of them, found in the code, are timed.

Over ten times the text a pattern may take ten times as long, and a few times more on a busy machine; one with nested or
adjacent wildcards takes a hundred times as long, or has no end.
"""

import ast
import itertools
import re
import subprocess
import sys
from pathlib import Path
from time import thread_time

import pytest

ROOT = Path(__file__).resolve().parents[1]
# The panel's own files are put together once, at the start: their text is no stranger's.
OWN = ROOT / "decoding" / "assets.py"
PYTHON = [ROOT / "app.py", *(path for path in sorted((ROOT / "decoding").rglob("*.py")) if path != OWN)]
SCRIPTS = sorted((ROOT / "assets").rglob("*.js"))
FUNCTIONS = {"compile", "sub", "subn", "match", "search", "fullmatch", "findall", "finditer", "split"}
LITERAL = re.compile(
    r"""(?:^|[(,=:\[!&|?{};]|return)\s*/((?:[^/\\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+)/([a-z]*)""", re.MULTILINE
)
SCRIPT_COMMENT = re.compile(r"^\s*//.*$|/\*\*(?:[^*]|\*(?!/))*\*/", re.MULTILINE)
LENGTH = 10_000
"""Of the shorter text; the longer one has 100,000 characters."""
MOST = 40
"""How many times as long ten times the text may take: 10 is linear, 100 a square."""
SHORTEST = 0.004
"""Seconds of the processor below which a machine's hiccups are all that is measured."""


def python_patterns() -> dict[str, tuple[str, bool]]:
    """Every pattern by its place, and whether it is only held against a text's beginning or all of it."""
    found = {}
    for path in PYTHON:
        tree = ast.parse(path.read_text("utf-8"))
        named = [(node.value.id, node.attr) for node in ast.walk(tree) if is_attribute_of_a_name(node)]
        for node in ast.walk(tree):
            assigned = node.targets[0] if isinstance(node, ast.Assign) else None
            call = node.value if isinstance(node, ast.Assign) else node
            if not (isinstance(call, ast.Call) and is_attribute_of_a_name(call.func) and call.func.value.id == "re"):
                continue
            if call.func.attr not in FUNCTIONS or (call.func.attr == "compile" and assigned is None):
                continue
            assert isinstance(call.args[0], ast.Constant), f"{path}:{call.lineno} makes a pattern of something else"
            name = getattr(assigned, "id", "")
            used = {attr for one, attr in named if one == name} if call.func.attr == "compile" else {call.func.attr}
            place = f"{path.relative_to(ROOT)}:{call.lineno}"
            said = call.args[0].value
            pattern = said.decode("latin-1") if isinstance(said, bytes) else said
            found[place] = (pattern, bool(used) and used <= {"match", "fullmatch"})
    return found


def is_attribute_of_a_name(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)


def script_patterns() -> dict[str, str]:
    found = {}
    for path in SCRIPTS:
        text = path.read_text("utf-8")
        assert "RegExp(" not in text, f"{path} makes a pattern of something else"
        for match in LITERAL.finditer(SCRIPT_COMMENT.sub("", text)):
            found[f"{path.relative_to(ROOT)} {match[0].strip()[-60:]}"] = f"/{match[1]}/{match[2]}"
    return found


def units(pattern: str) -> list[str]:
    """What a text may be made of, over and over, that a pattern may take long over: what it has letters for, alone and
    in pairs.
    """
    plain = re.sub(r"\\p\{\w+\}|\\[wdsbB]|\(\?[:=!<]+", "", pattern)
    letters = [*dict.fromkeys([*re.sub(r"[\\^$*+?()|\[\]]", "", plain)[:12], *"a1 -/="])]
    long = [part for part in re.split(r"[\\^$.*+?()|\[\]{}]", plain) if len(part) > 1]
    return [*letters, *map("".join, itertools.permutations(letters[:4], 2)), *long]


def attack(unit: str, length: int) -> str:
    """Such a text, with something at its end that fits nothing."""
    return (unit * (length // len(unit) + 1))[:length] + "\x00"


def slowest(pattern: str, *, is_whole: bool = False, length: int = LENGTH) -> float:
    """How many times as long ten times the text takes, at the worst: the least of four tries, where one is too long."""
    worst = 0.0
    for unit in units(pattern):
        once, tenfold = (seconds(pattern, attack(unit, size), is_whole) for size in (length, 10 * length))
        for _ in range(3):  # a hiccup is no square
            if tenfold < SHORTEST or tenfold < MOST * once:
                break
            once, tenfold = (
                min(before, seconds(pattern, attack(unit, size), is_whole))
                for before, size in ((once, length), (tenfold, 10 * length))
            )
        else:
            worst = max(worst, tenfold / once)
    return worst


def seconds(pattern: str, text: str, is_whole: bool) -> float:
    begun = thread_time()
    if is_whole:
        re.match(pattern, text)
        re.fullmatch(pattern, text)
    else:
        for _ in re.finditer(pattern, text):
            pass
    return thread_time() - begun


PATTERNS = python_patterns()


def test_the_patterns_are_found() -> None:
    assert len(PATTERNS) >= 12
    assert any(place.startswith("decoding/export/escaping.py") and whole for place, (_, whole) in PATTERNS.items())


@pytest.mark.parametrize(("pattern", "is_whole"), PATTERNS.values(), ids=PATTERNS)
def test_a_pattern_takes_time_in_proportion_to_the_text(pattern: str, is_whole: bool) -> None:
    assert slowest(pattern, is_whole=is_whole) < MOST


@pytest.mark.parametrize("pattern", [r"(a+)+=", r"\s*\s*=", r"a*$", r"<.*>.*b", r"-+$"])
def test_a_pattern_that_takes_a_square_would_be_found(pattern: str) -> None:
    """In a process of its own, since it may have no end."""
    code = f"from tests.test_regex_speed import *; sys.exit(slowest({pattern!r}, length=1_000) < MOST)"
    try:
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, timeout=3)
    except subprocess.TimeoutExpired:
        return
    assert done.returncode == 0
