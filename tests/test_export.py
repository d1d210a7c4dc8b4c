"""A run as a spreadsheet and as a terminal's table."""

import csv
import io
from dataclasses import replace

import pytest

import decoding
from decoding.export import summary, to_csv, to_table
from decoding.trace import Trace
from tests.fakes import END, NASTY, ScriptedEngine

COLUMNS = ["step", "rank", "token_id", "text", "bytes", "probability", "logprob", "picked", "forced"]


def rows(trace: Trace) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(to_csv(trace), newline="")))


def saying(*words: str, prompt: str = "a") -> Trace:
    """A run whose candidates are these words, in this order."""
    script = [{word: 0.5 / 2**rank for rank, word in enumerate(words)}]
    return decoding.trace(ScriptedEngine(script, words=words), prompt, max_new_tokens=1, top_k=len(words))


def test_a_row_a_candidate() -> None:
    trace = decoding.trace(ScriptedEngine(), "a", max_new_tokens=3, top_k=4)
    read = rows(trace)
    assert list(read[0]) == COLUMNS
    assert len(read) == 3 * 4
    for row, (step, c) in zip(read, ((s, c) for s in trace.steps for c in s.candidates), strict=True):
        assert (int(row["step"]), int(row["rank"]), int(row["token_id"])) == (step.index, c.rank, c.token_id)
        assert (float(row["probability"]), float(row["logprob"])) == (c.probability, c.logprob)  # to the last digit
        assert (row["picked"], row["forced"]) == (str(c.rank == 0), "False")


def test_a_run_of_no_steps_has_its_header() -> None:
    trace = replace(saying("x"), steps=())
    assert to_csv(trace) == ",".join(COLUMNS) + "\r\n"


@pytest.mark.parametrize("text", NASTY.values(), ids=NASTY)
def test_nasty_texts_come_back(text: str) -> None:
    trace = saying(text, "other")
    first, second = rows(trace)
    assert first["text"].removeprefix("'") == text
    assert (second["text"], second["token_id"]) == ("other", str(trace.steps[0].candidates[1].token_id))
    assert to_csv(trace).encode()


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "   -1", '=cmd|"/c calc"!A1'])
def test_formulas_are_defused(text: str) -> None:
    assert rows(saying(text))[0]["text"] == "'" + text


@pytest.mark.parametrize("text", ["a=1", " most", "1-2", "'quoted'", '"', ",", "a,b\nc", "한국", "👩‍👩‍👧"])
def test_what_is_no_formula_is_left_alone(text: str) -> None:
    assert rows(saying(text))[0]["text"] == text


def test_partial_characters_keep_their_bytes() -> None:
    engine = ScriptedEngine([{2 + 0xED: 0.9}])
    row = rows(decoding.trace(engine, "a", max_new_tokens=1, top_k=1))[0]
    assert (row["text"], row["bytes"]) == ("\ufffd", "ed")


# ---- the table


def test_the_table_hides_nothing_and_stays_a_table() -> None:
    table = to_table(saying("\n", " 한국", "<b>", prompt="a\tb c·d\n"))
    header, row, empty, *_ = table.splitlines()
    assert header.split() == ["Input", "Choice", "1", "Choice", "2", "Choice", "3"]
    assert row.split() == ["a⇥b", "c·d↵", "↵", "(50.00%)", "한국", "(25.00%)", "<b>", "(12.50%)"]
    assert empty == ""


def test_long_texts_are_not_cut() -> None:
    prompt = "word " * 100 + "end"
    assert prompt in to_table(saying("x", prompt=prompt)).splitlines()[1]


@pytest.mark.parametrize(
    ("trace", "words"),
    [
        (saying("x"), "1 steps (the step count was reached); log-probability -0.6931, perplexity 2.0000; scripted"),
        (replace(saying("x"), stop_reason="stopped"), "1 steps (stopped); "),
        (replace(saying("x"), stop_reason="context_full"), "1 steps (the context is full); "),
        (replace(saying("x"), stop_reason="error", message="It broke."), "1 steps (It broke.); "),
        (
            replace(saying("x"), steps=()),
            "0 steps (the step count was reached); log-probability 0.0000, perplexity nan",
        ),
    ],
)
def test_summary(trace: Trace, words: str) -> None:
    assert summary(trace).startswith(words)


def test_the_end_of_text_is_said() -> None:
    trace = decoding.trace(ScriptedEngine([{END: 0.5}]), "a", max_new_tokens=9, top_k=1)
    assert summary(trace).startswith("1 steps (the model ended the text); ")
    assert to_table(trace).endswith("; scripted, float32, cpu\n")
