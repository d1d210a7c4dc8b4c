"""Any run, whatever its texts, comes back from every form that it is kept in."""

import csv
import io
import math
import re
from collections.abc import Sequence
from itertools import groupby

from hypothesis import given, settings
from hypothesis import strategies as st

from decoding.export import to_csv_file
from decoding.export.escaping import FORMULA
from decoding.record.permalink import Link, from_link, to_link
from decoding.record.step import Candidate, Step
from decoding.record.trace import Trace
from decoding.run import Run, check_request
from tests.export.test_standalone import run_in
from tests.fakes import ScriptedEngine
from tests.record.test_trace import texts, traces


def step_from(rows: list[dict[str, str]], top_k: int) -> Step:
    """A step from its rows of CSV: everything that a step is."""
    candidates = [candidate_from(row) for row in rows]
    (picked,) = (candidate for candidate, row in zip(candidates, rows, strict=True) if row["picked"] == "True")
    first = rows[0]
    return Step(
        index=int(first["step"]) - 1,
        picked=picked,
        forced=first["forced"] == "True",
        candidates=tuple(candidate for candidate in candidates if candidate.rank < top_k),
        rest=float(first["rest"]),
        entropy=float(first["entropy"] or "nan"),
        margin=float(first["margin"]),
    )


def candidate_from(row: dict[str, str]) -> Candidate:
    text = row["text"]
    if text.startswith("'") and FORMULA.match(text[1:]):
        text = text[1:]
    data = bytes.fromhex(row["bytes"]) if row["bytes"] else None
    logprob = float(row["logprob"] or "-inf")
    return Candidate(int(row["token_id"]), text, float(row["probability"]), logprob, int(row["rank"]) - 1, data)


def from_csv(file: bytes, top_k: int) -> tuple[Step, ...]:
    rows = csv.DictReader(io.StringIO(file.decode("utf-8-sig"), newline=""))
    return tuple(step_from(list(group), top_k) for _, group in groupby(rows, key=lambda row: row["step"]))


def same(trace: Trace | tuple[Step, ...]) -> str:
    """What two equal runs have in common: NaN differs from itself, and bytes that are none are written as none."""
    return repr(trace).replace("bytes=b''", "bytes=None")


@settings(max_examples=60)
@given(trace=traces())
def test_any_run_comes_back(trace: Trace) -> None:
    assert same(Trace.from_jsonl(trace.to_jsonl())) == same(trace)
    html = trace.to_html()
    assert same(run_in(html)) == same(trace)
    assert run_in(html).to_html() == html
    assert same(from_csv(to_csv_file(trace), trace.top_k)) == same(trace.steps)


PICKS = st.dictionaries(st.integers(0, 5), st.integers(1, ScriptedEngine().vocabulary_size - 1), max_size=4)


PROMPTS = texts.map(lambda text: text.replace("\0", ""))  # a NUL is refused


@settings(max_examples=60)
@given(prompt=PROMPTS, steps=st.integers(1, 6), choices=st.integers(1, 5), picks=PICKS)
def test_any_run_is_written_again_from_its_link(prompt: str, steps: int, choices: int, picks: dict[int, int]) -> None:
    forced = sorted(pick for pick in picks.items() if pick[0] < steps)
    trace = written(prompt, steps, choices, forced)
    kept = [[step.index, step.picked.token_id] for step in trace.steps if step.forced]
    link = from_link(to_link(Link(trace.model.id, trace.prompt, steps, choices, kept)))
    assert same(written(link.prompt, link.steps, link.choices, link.forced)) == same(trace)


def written(prompt: str, steps: int, choices: int, forced: Sequence[Sequence[int]]) -> Trace:
    run = Run(ScriptedEngine(), check_request(prompt, steps, choices, [list(pick) for pick in forced]))
    for _ in run:
        pass
    return run.trace


@settings(max_examples=200)
@given(text=st.one_of(texts, st.text("'=+-@＝ \t\r\n\ufeffa", max_size=5)))
def test_any_text_comes_back_from_a_cell_that_is_no_formula(text: str) -> None:
    step = Step(0, (c := Candidate(1, text, 1.0, 0.0, 0)), False, (c,), 0.0, math.nan, 1.0)
    trace = Trace(model=None, prompt="", prompt_tokens=(), max_new_tokens=1, top_k=1, steps=(step,))  # type: ignore[arg-type]
    file = to_csv_file(trace)
    assert same(from_csv(file, 1)) == same((step,))
    (row,) = csv.DictReader(io.StringIO(file.decode("utf-8-sig"), newline=""))
    assert not re.match(r"[\s\ufeff]*[=+\-@＝＋－＠]|[\t\r]", row["text"])
