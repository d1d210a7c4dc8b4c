"""A run as a spreadsheet, as Markdown and as a terminal's table. As HTML: test_standalone."""

import csv
import io
import math
from dataclasses import replace
from html import unescape

import pytest
from markdown_it import MarkdownIt

import decoding
from decoding.export import summary, to_csv, to_csv_file, to_frame, to_markdown, to_table
from decoding.export.labels import label
from decoding.record.tokens import visible
from decoding.record.trace import Candidate, Trace
from tests.fakes import END, NASTY, ScriptedEngine

COLUMNS = ["step", "rank", "token_id", "text", "bytes", "probability", "logprob", "picked", "forced"]
COLUMNS += ["rest", "entropy", "margin"]


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
        assert (int(row["step"]), int(row["rank"]), int(row["token_id"])) == (step.index + 1, c.rank + 1, c.token_id)
        assert (float(row["probability"]), float(row["logprob"])) == (c.probability, c.logprob)  # to the last digit
        assert (row["picked"], row["forced"]) == (str(c.rank == 0), "False")
        assert (float(row["rest"]), float(row["entropy"])) == (step.rest, step.entropy)


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


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "   -1", '=cmd|"/c calc"!A1',
                                  "\n=1", "\ufeff=1", "\u3000=1", "＝1", "＠SUM(A1)", "'=1", "''+1"])  # fmt: skip
def test_formulas_are_defused(text: str) -> None:
    assert rows(saying(text))[0]["text"] == "'" + text


@pytest.mark.parametrize("text", ["a=1", " most", "1-2", "'quoted'", '"', ",", "a,b\nc", "한국", "👩‍👩‍👧"])
def test_text_that_is_no_formula_is_unchanged(text: str) -> None:
    assert rows(saying(text))[0]["text"] == text


def test_partial_characters_keep_their_bytes() -> None:
    engine = ScriptedEngine([{2 + 0xED: 0.9}])
    row = rows(decoding.trace(engine, "a", max_new_tokens=1, top_k=1))[0]
    assert (row["text"], row["bytes"]) == ("\ufffd", "ed")


def test_a_token_that_completes_a_character_is_shown_as_that_character() -> None:
    script = [{2 + 0xEC: 0.9, " most": 0.05}, {2 + 0x9E: 0.9}, {2 + 0x90: 0.8, 2 + 0x91: 0.1, " most": 0.05}]
    lines = decoding.trace(ScriptedEngine(script), "a", max_new_tokens=3, top_k=3).to_markdown().splitlines()
    cells = [unescape(line).split(" | ")[1:3] for line in lines[2:]]
    first = [row[0].split(" (")[0] for row in cells]
    assert first == ["⟨EC⟩", "⟨9E⟩", "자⟨+90⟩"]
    assert cells[2][1].startswith("작⟨+91⟩ (")


@pytest.mark.parametrize(
    ("text", "data", "before", "said"),
    [
        ("\ufffd", b"\xec\x9e", b"", "⟨EC 9E⟩"),
        ("\ufffd", b"\x90", b"\xec\x9e", "자⟨+90⟩"),
        ("\ufffd", b"\x90\xec", b"\xec\x9e", "자⟨+90⟩⟨EC⟩"),
        ("\ufffd", b"\x8e", b"\xf0\x9f", "⟨8E⟩"),
        ("\ufffd", b"\x89", b"\xf0\x9f\x8e", "🎉⟨+89⟩"),
        ("\ufffd", b" \xf0\x9f", b"", "·⟨F0 9F⟩"),
        ("\ufffd", b"\x90", b"", "⟨90⟩"),
        ("\ufffd", b"\xff", b"\xec\x9e", "⟨FF⟩"),
        (" most", None, b"\xec\x9e", "·most"),
    ],
)
def test_labels_of_split_characters(text: str, data: bytes | None, before: bytes, said: str) -> None:
    assert label(text, data, before) == said


def test_infinite_numbers_are_empty_cells() -> None:
    trace = saying("x")
    step = trace.steps[0]
    nothing = replace(step.candidates[0], probability=0.0, logprob=-math.inf)
    row = rows(replace(trace, steps=(replace(step, candidates=(nothing,), entropy=math.nan),)))[0]
    assert (row["probability"], row["logprob"], row["entropy"]) == ("0.0", "", "")


def test_a_pick_from_beyond_the_candidates_has_its_row() -> None:
    trace = saying("x", "y")
    step = trace.steps[0]
    beyond = Candidate(7, "z", 0.01, math.log(0.01), 40)
    read = rows(replace(trace, steps=(replace(step, picked=beyond, forced=True),)))
    picked = [(row["text"], row["rank"], row["picked"], row["forced"]) for row in read]
    assert picked == [("x", "1", "False", "True"), ("y", "2", "False", "True"), ("z", "41", "True", "True")]


def test_a_file_has_the_byte_order_mark_and_the_string_has_none() -> None:
    trace = saying(" 한국", "👩‍👩‍👧")
    assert to_csv_file(trace).startswith(b"\xef\xbb\xbfstep,rank,")
    assert to_csv_file(trace).decode("utf-8-sig") == to_csv(trace) == trace.to_csv()
    assert rows(trace)[0]["text"] == " 한국"


# ---- Markdown


def cells_of(markdown: str) -> list[list[str]]:
    """The cells as a Markdown program reads them; anything but plain text in one of them fails."""
    parsed = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(markdown)
    assert (parsed[0].type, parsed[-1].type) == ("table_open", "table_close")
    table: list[list[str]] = []
    for token in parsed:
        if token.type == "tr_open":
            table.append([])
        if token.type == "inline":
            assert {child.type for child in token.children or []} <= {"text"}, token.content
            table[-1].append("".join(child.content for child in token.children or []))
    return table


def test_the_notebooks_table_in_markdown() -> None:
    trace = decoding.trace(ScriptedEngine(), "Transformers are the", max_new_tokens=2, top_k=2)
    assert trace.to_markdown() == (
        "| Input | Choice 1 | Choice 2 |\n| --- | --- | --- |\n"
        "| Transformers are the | most (50.00%) | only (25.00%) |\n"
        "| Transformers are the most | popular (75.00%) | most (12.50%) |\n"
    )


def test_markdown_of_a_run_of_no_steps_is_a_table_all_the_same() -> None:
    assert cells_of(to_markdown(replace(saying("x"), steps=()))) == [["Input"]]


MARKUP = ["|", "||a|b", "`a`", "*a* **b** _c_", "~~a~~", "[a](http://x)", "![a](http://x/y.png)", "<b>", "&lt;",
          "&#124;", "\\|", "\\", "a\n\nb", "# a", "- a", "1. a", "---", "$x$", "http://x.y", "www.x.y", "a@b.c", ":+1:",
          "> a", "<!-- a", "[^1]", "==a==", "^a^", "{a}", "=1+1"]  # fmt: skip


@pytest.mark.parametrize("text", [*NASTY.values(), *MARKUP])
def test_nothing_in_markdown_is_interpreted(text: str) -> None:
    table = cells_of(to_markdown(saying(text, "other", prompt=text)))
    assert [len(row) for row in table] == [3, 3]
    words = " ".join(map(visible, text.split(" "))).split()
    assert table[1][0].split() == words
    shown = visible(text.removeprefix(" ")) or visible(text)
    assert table[1][1:] == [f"{shown} (50.00%)", "other (25.00%)"]


# ---- the table


def test_the_table_hides_nothing_and_stays_a_table() -> None:
    table = to_table(saying("\n", " 한국", "<b>", prompt="a\tb c·d\n"))
    header, row, empty, *_ = table.splitlines()
    assert header.split() == ["Input", "Choice", "1", "Choice", "2", "Choice", "3"]
    assert row.split() == ["a⇥b", "c·d↵", "↵", "(50.00%)", "한국", "(25.00%)", "<b>", "(12.50%)"]
    assert empty == ""


def test_marks_take_no_place_in_a_column_and_wide_letters_take_two() -> None:
    header, row, *_ = to_table(saying("ก็한e\u0301", "👩‍🚀", "x", prompt="हिन्दी")).splitlines()
    assert header == "Input Choice 1      Choice 2      Choice 3"
    assert row == "हिन्दी ก็한e\u0301 (50.00%) 👩‍🚀 (25.00%) x (12.50%)"


def test_the_table_of_a_run_of_no_steps_is_its_text_and_totals() -> None:
    lines = to_table(replace(saying("x", prompt="a\nb\x1b[2J"), steps=(), stop_reason="stopped")).splitlines()
    assert lines == ["a", "b\\u001b[2J", "", lines[-1]]
    assert lines[-1].startswith("0 steps (stopped); ")


def test_long_texts_are_not_cut() -> None:
    prompt = "word " * 100 + "end"
    assert prompt in to_table(saying("x", prompt=prompt)).splitlines()[1]


def test_a_pick_that_is_not_the_first_choice_is_in_the_table() -> None:
    """A forced or drawn pick may be beyond the choices, and would then be in no cell of its row."""
    engine = ScriptedEngine([{" a": 0.5, " b": 0.25, " c": 0.125}], words=(" a", " b", " c"))
    parent = decoding.trace(engine, "x", max_new_tokens=2, top_k=1)
    branch = decoding.branch(engine, parent, 0, parent.steps[0].candidates[0].token_id + 2, max_new_tokens=2)
    assert to_frame(parent).columns.tolist() == ["Input", "Choice 1"]
    frame = to_frame(branch)
    assert frame.columns.tolist() == ["Input", "Picked", "Choice 1"]
    assert frame["Picked"].tolist() == ["c (12.50%)", "a (50.00%)"]
    assert "Picked" in to_table(branch).splitlines()[0]
    assert to_markdown(branch, "ko").startswith("| 입력 | 고른 토큰 | 후보 1 |\n")


def test_a_table_that_is_too_long_is_left_out_and_a_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("decoding.export.tables.MAX_TABLE_CHARACTERS", 10)
    text, _, left_out, totals = to_table(saying(" world", prompt="hello")).splitlines()
    assert text == "hello world"
    assert left_out.startswith("The table is left out: ")
    assert " 11 characters in all, and at most 10 are printed." in left_out
    assert totals.startswith("1 step ")


@pytest.mark.parametrize(
    ("trace", "words"),
    [
        (saying("x"), "1 step (the step count was reached); log-probability -0.6931, perplexity 2.0000; scripted"),
        (replace(saying("x"), stop_reason="stopped"), "1 step (stopped); "),
        (replace(saying("x"), stop_reason="context_full"), "1 step (the context is full); "),
        (replace(saying("x"), stop_reason="error", message="It broke."), "1 step (ended by an error); "),
        (
            replace(saying("x"), steps=()),
            "0 steps (the step count was reached); log-probability 0.0000, perplexity nan",
        ),
    ],
)
def test_summary(trace: Trace, words: str) -> None:
    assert summary(trace).startswith(words)


def test_the_summary_names_the_end_of_text() -> None:
    trace = decoding.trace(ScriptedEngine([{END: 0.5}]), "a", max_new_tokens=9, top_k=1)
    assert summary(trace).startswith("1 step (the model ended the text); ")
    assert to_table(trace).endswith("; scripted, float32, cpu\n")
