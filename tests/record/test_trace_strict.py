"""What `Trace.from_jsonl` refuses, and in which words: a run may come from anybody."""

import json
import math
from typing import Any

import pytest

import decoding
from decoding.errors import FormatError
from decoding.record.trace import Trace
from tests.fakes import ScriptedEngine


@pytest.fixture(scope="module")
def run() -> Trace:
    return decoding.trace(ScriptedEngine(), "Transformers are the", max_new_tokens=3, top_k=3)


def changed(run: Trace, line: int, **values: Any) -> str:
    """The run's text with values of a line changed; "a.0.b" reaches into it."""
    lines = [json.loads(text) for text in run.to_jsonl().splitlines()]
    for path, value in values.items():
        *way, last = path.split("__")
        place = lines[line]
        for name in way:
            place = place[int(name) if name.isdigit() else name]
        place[int(last) if last.isdigit() else last] = value
    return "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in lines)


ALTERED: dict[str, tuple[int, dict[str, Any], str]] = {
    "version": (
        0,
        {"version": 2},
        "Line 1 of the run has another version of the format than 1, the one that is read here.",
    ),
    "format": (0, {"format": "gpt"}, "Line 1 of the run cannot be read: format: it has to be greedyscope."),
    "unknown header field": (0, {"x": 1}, "Line 1 of the run cannot be read: x: there is no such field."),
    "unknown step field": (1, {"x": 1}, "Line 2 of the run cannot be read: x: there is no such field."),
    "unknown candidate field": (
        1,
        {"picked__x": 1},
        "Line 2 of the run cannot be read: picked.x: there is no such field.",
    ),
    "ids": (
        0,
        {"prompt_token_ids": [1]},
        "Line 1 of the run cannot be right: prompt_token_ids and prompt_tokens name different ids.",
    ),
    "index": (2, {"index": 7}, "Line 3 of the run cannot be right: its index is 7, not 1."),
    "probability": (
        1,
        {"candidates__1__probability": 0.26},
        "Line 2 of the run cannot be right: candidates and rest do",
    ),
    "logprob": (
        1,
        {"candidates__1__logprob": -1.0},
        "Line 2 of the run cannot be right: a logprob is not the logarithm",
    ),
    "rest": (1, {"rest": 0.5}, "Line 2 of the run cannot be right: candidates and rest do not sum to 1."),
    "margin": (1, {"margin": 0.9}, "Line 2 of the run cannot be right: its margin is not the first probability minus"),
    "entropy": (1, {"entropy": -0.5}, "Line 2 of the run cannot be right: its entropy is negative."),
    "rank": (1, {"candidates__1__rank": 2}, "Line 2 of the run cannot be right: its ranks are not 0, 1, 2, …."),
    "picked": (1, {"picked__token_id": 9}, "Line 2 of the run cannot be right: it is not forced and did not pick the"),
    "more choices than asked": (0, {"top_k": 2}, "Line 2 of the run cannot be right: it has more than 2 candidates."),
    "more steps than asked": (0, {"max_new_tokens": 2}, "The run cannot be right: of 2 steps it has 3."),
    "fewer steps than it says": (0, {"max_new_tokens": 4}, "The run cannot be right: of 4 steps it has 3."),
    "no candidates": (
        1,
        {"candidates": []},
        "Line 2 of the run cannot be read: candidates: it is empty.",
    ),
    "probability above 1": (
        1,
        {"rest": 1.5},
        "Line 2 of the run cannot be read: rest: it has to be a number from 0 to 1.",
    ),
    "id as text": (
        1,
        {"picked__token_id": "9"},
        "Line 2 of the run cannot be read: picked.token_id: it has to be a whole number from -1 to 16,777,215.",
    ),
    "bytes": (
        1,
        {"picked__bytes": "zz"},
        "Line 2 of the run cannot be read: picked.bytes: it has to be pairs of hexadecimal digits.",
    ),
    "NaN": (
        1,
        {"entropy": math.nan},
        "Line 2 of the run cannot be read: it is not JSON.",
    ),
    "Infinity": (1, {"entropy": math.inf}, "Line 2 of the run cannot be read: it is not JSON."),
    "-Infinity": (
        1,
        {"picked__logprob": -math.inf},
        "Line 2 of the run cannot be read: it is not JSON.",
    ),
    "sums without T = 1": (1, {"log_sums": [[0.5, 3.0]]}, "Line 2 of the run cannot be right: its log_sums are not in"),
    "sums out of order": (
        1,
        {"log_sums": [[2, 1.0], [1, 0.0]]},
        "Line 2 of the run cannot be right: its log_sums are not in ascending order of 1 / T, with T = 1 among them.",
    ),
    "sums too small": (
        1,
        {"log_sums": [[1, 0.0], [2, -5.0]]},
        "Line 2 of the run cannot be right: its candidates have more than the whole probability at a temperature",
    ),
    "sums far too small": (
        1,
        {"log_sums": [[1, 1e9], [2, -1e9]]},
        "Line 2 of the run cannot be right: its candidates have more than the whole probability at a temperature",
    ),
    "a sum that is no number": (
        1,
        {"log_sums": [[1, None]]},
        "Line 2 of the run cannot be read: log_sums.0.1: it has to be a number from -1e+09 to 1e+09.",
    ),
    "a power of 0": (
        1,
        {"log_sums": [[0, 1.0]]},
        "Line 2 of the run cannot be read: log_sums.0.0: it has to be a number from 0.01 to 100.",
    ),
    "stop reason": (
        -1,
        {"stop_reason": "tired"},
        "Line 5 of the run cannot be read: stop_reason: it has to be one of steps,",
    ),
    "lone surrogate": (
        0,
        {"prompt": "\ud800"},
        "Line 1 of the run cannot be read: prompt: it holds half of a surrogate pair.",
    ),
}


@pytest.mark.parametrize(("line", "values", "sentence"), ALTERED.values(), ids=ALTERED)
def test_altered_runs_are_refused(run: Trace, line: int, values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(FormatError) as refused:
        Trace.from_jsonl(changed(run, line, **values))
    assert str(refused.value).startswith(sentence)
    assert "\n" not in str(refused.value)


def test_the_order_of_candidates_is_checked(run: Trace) -> None:
    first, second, third = (json.loads(run.to_jsonl().splitlines()[1])["candidates"][n] for n in (0, 1, 2))
    swapped = [first, third | {"rank": 1}, second | {"rank": 2}]
    with pytest.raises(FormatError, match="Line 2 of the run cannot be right: its candidates are not ordered"):
        Trace.from_jsonl(changed(run, 1, candidates=swapped))


NO_RUNS: dict[str, tuple[str, str]] = {
    "nothing": ("", "A run has a first and a last line at least; this text has 0."),
    "one line": ("{}\n", "A run has a first and a last line at least; this text has 1."),
    "blank lines": ("\n\n", "A run has a first and a last line at least; this text has 0."),
    "a page": ("<html>\n<p>\n", "Line 1 of the run cannot be read: it is not JSON."),
    "lists": ("[]\n[]\n", "Line 1 of the run cannot be read: it has to be an object."),
    "deep": ("[" * 100_000 + "\n{}\n", "Line 1 of the run cannot be read: it is not JSON."),
    "huge number": (
        '{"version":' + "9" * 10_000 + "}\n{}\n",
        "Line 1 of the run cannot be read: it is not JSON.",
    ),
    "half an escape": ('{"format":"\\ud800"}\n{}\n', "Line 1 of the run cannot be read: format: it has to be"),
}


@pytest.mark.parametrize(("text", "sentence"), NO_RUNS.values(), ids=NO_RUNS)
def test_text_that_is_no_run_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(FormatError) as refused:
        Trace.from_jsonl(text)
    assert str(refused.value).startswith(sentence)
    assert len(str(refused.value)) < 300


def test_a_cut_run_is_refused_wherever_it_is_cut(run: Trace) -> None:
    text = run.to_jsonl()
    assert Trace.from_jsonl(text[:-1]) == run  # only the last line's end is missing
    for length in range(len(text) - 1):
        with pytest.raises(FormatError):
            Trace.from_jsonl(text[:length])


def test_no_end_line(run: Trace) -> None:
    lines = run.to_jsonl().splitlines(keepends=True)
    for cut in ("".join(lines[:-1]), "".join(lines[:-1])[:-40], "".join(lines)[:-20]):
        with pytest.raises(
            FormatError, match=r"^The run is cut short: its last line, which says why it ended, is missing"
        ):
            Trace.from_jsonl(cut)


def test_what_an_editor_adds_is_no_part_of_the_run(run: Trace) -> None:
    text = run.to_jsonl()
    for edited in (f"\ufeff{text}", text + "\n\n", text.replace("\n", "\r\n") + "\r\n", text.rstrip("\n")):
        assert Trace.from_jsonl(edited) == run


def test_a_missing_step(run: Trace) -> None:
    lines = run.to_jsonl().splitlines(keepends=True)
    with pytest.raises(FormatError, match="Line 3 of the run cannot be right: its index is 2, not 1"):
        Trace.from_jsonl("".join(lines[:2] + lines[3:]))
