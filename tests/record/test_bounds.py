"""What a stranger's file may cost: work and memory grow with its size at most, and no number in it decides how much.

Work is counted in calls of Python and of C, not in seconds: a busy machine counts the same.
"""

import json
import math
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import decoding
from decoding import limits
from decoding.errors import FormatError
from decoding.export import to_csv_file, to_html, to_markdown
from decoding.record.permalink import from_link
from decoding.record.trace import Trace
from tests.fakes import ScriptedEngine
from tests.record.test_permalink import packed
from tests.record.test_trace_strict import changed

MEGABYTE = 2**20


@pytest.fixture(scope="module")
def run() -> Trace:
    return decoding.trace(ScriptedEngine(), "Transformers are the", max_new_tokens=3, top_k=3)


def calls(work: Callable[[], object]) -> int:
    """How many functions are called while something is done."""
    count = 0

    def each(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(each)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def refused(text: str) -> str:
    try:
        Trace.from_jsonl(text)
    except FormatError as error:
        return str(error)
    return ""


def peak(work: Callable[[], object]) -> int:
    """Bytes that Python held at most while something was done."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# ---- numbers in a file

NUMBERS = {
    "top_k": (0, "top_k"),
    "max_new_tokens": (0, "max_new_tokens"),
    "a prompt token's id": (0, "prompt_tokens__0__token_id"),
    "index": (1, "index"),
    "rank": (1, "candidates__1__rank"),
    "a pick's rank": (1, "picked__rank"),
    "token_id": (1, "candidates__1__token_id"),
    "a power": (1, "log_sums__6__0"),
    "a log sum": (1, "log_sums__6__1"),
    "entropy": (1, "entropy"),
    "a loop": (-1, "loops__0__repeats"),
    "a loop's period": (-1, "loops__0__period"),
}


@pytest.mark.parametrize(("line", "place"), NUMBERS.values(), ids=NUMBERS)
@settings(max_examples=12)
@given(number=st.sampled_from([2**24, 10**9, 10**18, 10**300, 2**63, -(10**9), 1e308, -1e308]))
def test_no_number_in_a_file_decides_how_much_is_made(run: Trace, line: int, place: str, number: float) -> None:
    values = {"loops": [{"start": 0, "period": 1, "repeats": 3}]} if line == -1 else {}
    text = changed(run, line, **values, **{place: number})
    said: list[str] = []
    assert peak(lambda: said.append(refused(text))) < MEGABYTE
    assert said[0].startswith(("Line", "The run"))
    assert len(said[0]) < 300


@pytest.mark.parametrize("form", [Trace.to_csv, to_csv_file, to_markdown, to_html, Trace.__str__, Trace.to_frame])
def test_a_wide_header_makes_no_wide_table(run: Trace, form: Callable[[Trace], object]) -> None:
    """Also of a run that was made in Python, where nobody reads it first."""
    form(run)  # with what it imports
    narrow = calls(lambda: form(run))
    assert calls(lambda: form(replace(run, top_k=10**5))) < 1.5 * narrow


# ---- the size of a file


def header(**fields: Any) -> str:
    model = dict.fromkeys(("id", "revision", "dtype", "device", "engine"), "a")
    said = {"format": "greedyscope", "version": 1, "model": model, "prompt": "", "prompt_token_ids": []}
    return json.dumps(said | {"prompt_tokens": [], "max_new_tokens": 1, "top_k": 50} | fields)


def run_of(line: str) -> str:
    return f'{header(prompt_token_ids=[])}\n{line}\n{{"stop_reason":"stopped"}}\n'


UNITS = ["1,", '"",', "[],", "{},", "null,", "1e9,", '{"a":1},', '{"token_id":1,"text":""},', "[1,0.5],"]
HEADERS = ["format", "model", "prompt", "prompt_token_ids", "prompt_tokens", "top_k", "note", "x"]
STEPS = ["index", "picked", "candidates", "rest", "log_sums", "x"]


def repeated(field: str, unit: str, count: int, *, in_header: bool) -> str:
    """A line with a list of equal entries in one of its fields."""
    entries = (unit * count)[:-1]
    line = json.dumps({"index": 0, field: "…"}) if not in_header else header(**{field: "…"})
    line = line.replace(json.dumps("…"), f"[{entries}]")
    return f'{line}\n{{"stop_reason":"stopped"}}\n' if in_header else run_of(line)


@settings(max_examples=40)
@given(data=st.data(), in_header=st.booleans(), unit=st.sampled_from(UNITS))
def test_the_first_fault_ends_the_reading_however_many_follow(data: st.DataObject, in_header: bool, unit: str) -> None:
    """Pydantic went on to the last one, and wrote each down: 4 MB of "1," took 2.7 GB."""
    field = data.draw(st.sampled_from(HEADERS if in_header else STEPS))
    few, many = (repeated(field, unit, count, in_header=in_header) for count in (100, 2_000))
    assert refused(many) != ""
    assert calls(lambda: refused(many)) <= 25 * calls(lambda: refused(few))
    assert peak(lambda: refused(many)) < 60 * len(many) + MEGABYTE


@settings(max_examples=12)
@given(unit=st.sampled_from(UNITS), field=st.sampled_from(HEADERS))
def test_a_large_line_is_refused_within_its_own_size(unit: str, field: str) -> None:
    text = repeated(field, unit, MEGABYTE // 2 // len(unit), in_header=True)
    assert refused(text) != ""
    assert peak(lambda: refused(text)) < 30 * MEGABYTE
    assert calls(lambda: refused(text)) < limits.MAX_PROMPT_TOKENS * 40


KEYS = "{" + ",".join(f'"{n}":1' for n in range(20_000)) + "}"
SHAPES = {
    "line ends": "\n" * MEGABYTE,
    "brackets": "[" * MEGABYTE,
    "braces": '{"a":' * 100_000,
    "names": f"{KEYS}\n{{}}\n",
    "names of a step": run_of(KEYS),
    "a long number": '{"version":' + "9" * MEGABYTE + "}\n{}\n",
    "a long text": header(prompt="a" * MEGABYTE) + '\n{"stop_reason":"stopped"}\n',
    "a long step": run_of('"' + "a" * MEGABYTE + '"'),
    "too large": "a" * (limits.MAX_RUN_BYTES + 1),
}


@pytest.mark.parametrize("text", SHAPES.values(), ids=SHAPES)
def test_invalid_text_costs_memory_linear_in_its_size(text: str) -> None:
    assert refused(text) != ""
    assert calls(lambda: refused(text)) < 1_000
    assert peak(lambda: refused(text)) < 8 * MEGABYTE


def step_of(candidates: int, log_sums: int) -> str:
    """A step whose every number is right, as far as its size allows."""
    share = 1 / (candidates + 1)
    shown = [
        {"token_id": n, "text": str(n), "probability": share, "logprob": math.log(share), "rank": n}
        for n in range(candidates)
    ]
    powers = [1 + n / 100 for n in range(log_sums)]
    sums = [[power, math.log(candidates + 1) * 1.0] for power in powers]
    fields = {"index": 0, "picked": shown[0], "forced": False, "candidates": shown, "rest": share}
    return json.dumps(fields | {"entropy": math.log(candidates + 1), "margin": 0.0, "log_sums": sums})


@pytest.mark.parametrize(("candidates", "log_sums"), [(51, 1), (2_000, 1), (1, 17), (50, 5_000), (1_000, 1_000)])
def test_many_candidates_times_many_sums_are_not_begun(candidates: int, log_sums: int) -> None:
    """Their product was what a check cost: 1.2 MB took 40 s."""
    token = {"token_id": 1, "text": "a"}
    text = "\n".join(
        [
            header(prompt="a", prompt_token_ids=[1], prompt_tokens=[token]),
            step_of(candidates, log_sums),
            '{"stop_reason":"steps"}',
            "",
        ]
    )
    said = refused(text)
    assert "entries, and at most" in said or "characters, and at most" in said
    assert calls(lambda: refused(text)) < 60 * (limits.MAX_CHOICES + limits.MAX_LOG_SUMS)


def test_the_cost_of_a_run_grows_with_its_steps_alone() -> None:
    engine = ScriptedEngine()
    runs = [decoding.trace(engine, "a" * n, max_new_tokens=n, top_k=20).to_jsonl() for n in (60, 120, 240)]
    costs = [calls(lambda text=text: Trace.from_jsonl(text)) for text in runs]  # type: ignore[misc]
    assert costs[1] / costs[0] < 2.3
    assert costs[2] / costs[1] < 2.3


# ---- a link


@settings(max_examples=20)
@given(unit=st.sampled_from(UNITS), at=st.integers(0, 6))
def test_a_link_costs_its_size_at_most(unit: str, at: int) -> None:
    """8,000 characters unpack to 300,000; Pydantic made 80 MB of them."""
    fields = ['"m"', '"p"', "8", "5", "[]", "0", '"ko"']
    fields[at] = f"[{(unit * (250_000 // len(unit)))[:-1]}]"
    link = packed(f"[{','.join(fields)}]")

    def open_it() -> None:
        with pytest.raises(FormatError, match="This link is"):
            from_link(link)

    assert peak(open_it) < 16 * MEGABYTE
    assert calls(open_it) < 2_000 + 10 * limits.MAX_STEPS
