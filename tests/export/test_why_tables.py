"""Why a step picked its token, as tables behind the run's own: in CSV and in Markdown, every number of the answers."""

import csv
import io
import math
from dataclasses import replace
from typing import Any

import pytest
from markdown_it import MarkdownIt

import decoding
from decoding.export import to_csv, to_csv_file, to_markdown
from decoding.export.labels import joined_label
from decoding.i18n import translate
from decoding.record.step import Candidate
from decoding.record.tokens import Token, visible
from decoding.record.trace import Trace
from decoding.record.why import LeaveOneOut, LeftOut, Lens, LensLayer
from tests.export.test_tables import MARKUP
from tests.fakes import NASTY, ScriptedEngine

RUN = decoding.trace(ScriptedEngine(), "abc", max_new_tokens=3, top_k=4)


def lens(trace: Trace, step: int = 0, *, other: str = " x") -> Lens:
    """A lens of three layers, of which the second names another token."""
    pick = trace.steps[step].picked
    said = Candidate(9, other, 0.625, math.log(0.625), 0)
    before = [LensLayer(said, (-3.5, said.logprob), (4, 0)), LensLayer(said, (-math.inf, said.logprob), (40, 0))]
    return Lens(step, (pick.token, said.token), (*before, LensLayer(pick, (pick.logprob, -7.25), (0, 12))))


@pytest.fixture(scope="module")
def asked() -> Trace:
    engine = ScriptedEngine()
    other = RUN.steps[1].candidates[1].token_id
    answers = [decoding.leave_one_out(engine, RUN, 1, against=other), decoding.leave_one_out(engine, RUN, 0)]
    return replace(RUN, why=(*answers, lens(RUN)))


def tables(text: str) -> list[list[list[str]]]:
    """The tables of a CSV file: rows, parted by empty ones."""
    found: list[list[list[str]]] = [[]]
    for row in csv.reader(io.StringIO(text, newline="")):
        if row:
            found[-1].append(row)
        else:
            found.append([])
    return found


def test_the_runs_own_table_stands_in_front_as_ever(asked: Trace) -> None:
    assert to_csv(asked).startswith(f"{to_csv(RUN)}\r\n")
    assert to_markdown(asked).startswith(f"{to_markdown(RUN)}\n")
    assert len(tables(to_csv(RUN))) == 1


def test_every_number_that_was_left_out_for_comes_back(asked: Trace) -> None:
    _, (head, *rows), _ = tables(to_csv_file(asked).decode("utf-8-sig"))
    read = [dict(zip(head, row, strict=True)) for row in rows]
    answers = sorted((one for one in asked.why if isinstance(one, LeaveOneOut)), key=lambda one: one.step)
    wanted = [(answer, part) for answer in answers for part in answer.parts]
    assert [len(one.parts) for one in answers] == [3, 4]
    tokens = [*RUN.prompt_tokens, *(step.picked.token for step in RUN.steps)]
    for row, (answer, part) in zip(read, wanted, strict=True):
        assert (row["step"], row["left_out"]) == (str(answer.step + 1), answer.by)
        assert (int(row["position"]), row["part"]) == (part.first + 1, tokens[part.first].text)
        assert (int(row["pick_id"]), row["pick"]) == (answer.picked.token_id, answer.picked.text)
        assert float(row["probability"]) == answer.picked.probability
        assert float(row["probability_without"]) == part.probability
        assert float(row["logprob_without"]) == part.logprob
        assert int(row["rank_without"]) == part.rank + 1
        assert float(row["change"]) == answer.change(part)
        assert (int(row["instead_id"]), row["instead"]) == (part.instead.token_id, part.instead.text)
        assert float(row["instead_probability"]) == part.instead.probability
        if answer.against:
            assert (int(row["against_id"]), row["against"]) == (answer.against.token_id, answer.against.text)
            assert float(row["against_logprob_without"]) == part.against_logprob
        else:
            assert (row["against_id"], row["against"], row["against_logprob_without"]) == ("", "", "")


def test_a_lens_is_a_row_a_layer_and_a_column_a_token(asked: Trace) -> None:
    *_, (head, *rows) = tables(to_csv(asked))
    found, pick = lens(RUN), RUN.steps[0].picked
    assert head[:5] == ["step", "layer", "leader_id", "leader", "leader_probability"]
    assert head[5:] == [f"{visible(pick.text)} ({pick.token_id})", "·x (9)"]
    assert [row[:4] for row in rows] == [
        ["1", "0", "9", " x"], ["1", "1", "9", " x"], ["1", "2", str(pick.token_id), pick.text]
    ]  # fmt: skip
    for row, layer in zip(rows, found.layers, strict=True):
        assert float(row[4]) == layer.leader.probability
        assert [float(cell) for cell in row[5:]] == [math.exp(logprob) for logprob in layer.logprobs]


def parsed(text: str) -> list[Any]:
    """Headings, sentences and tables as a Markdown program reads them; anything but plain text in them fails."""
    found: list[Any] = []
    for token in MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(text):
        if token.type == "table_open":
            found.append([])
        if token.type == "tr_open":
            found[-1].append([])
        if token.type in ("heading_open", "paragraph_open"):
            found.append("")
        if token.type == "inline":
            assert {child.type for child in token.children or []} <= {"text"}, token.content
            content = "".join(child.content for child in token.children or [])
            if isinstance(found[-1], str):
                found[-1] = content
            else:
                found[-1][-1].append(content)
    return found


def test_markdown_has_a_section_a_step(asked: Trace) -> None:
    _, first, title, without, lens_title, sentence, layers, second, _, versus = parsed(to_markdown(asked))
    assert (first, second) == ("Step 1: why ·most (50.00%)?", "Step 2: why ·popular (75.00%)?")
    assert (title, lens_title) == ("Without this part (leave one out)", "Layer by layer (logit lens)")
    assert without[0] == ["Part", "Without it", "Change (percentage points)", "Picked instead"]
    answer = next(one for one in asked.why if isinstance(one, LeaveOneOut) and one.step == 0)
    part = answer.parts[0]
    assert without[1][:3] == ["a", f"{part.probability:.2%}", f"{100 * answer.change(part):+.2f}"]
    assert sentence.startswith("·most is in the lead from layer 2 of 2 on. The last norm and the head read the state ")
    assert "raw" in sentence
    assert layers[0] == ["Layer", "Leads", "·most", "·x"]
    assert layers[1:] == [
        ["2", "·most (50.00%)", "50.00%", "0.07%"], ["1", "·x (62.50%)", "0.00%", "62.50%"],
        ["0", "·x (62.50%)", "3.02%", "62.50%"],
    ]  # fmt: skip
    assert versus[0][2].startswith("Change of ln p(·popular) − ln p(")
    assert len(versus) == 5


def test_each_language_has_its_headings_and_the_same_numbers(asked: Trace) -> None:
    english, korean = (tables(to_csv(asked, language)) for language in ("en", "ko"))
    assert [table[1:] for table in english] == [table[1:] for table in korean]
    assert all(a[0][:5] != b[0][:5] for a, b in zip(english, korean, strict=True))
    assert translate("why.without.after", "ko") in to_markdown(asked, "ko")


def test_an_answer_that_was_stopped_says_so() -> None:
    answer = decoding.leave_one_out(ScriptedEngine(), RUN, 1)
    stopped = replace(answer, parts=answer.parts[1:2])
    for language in ("en", "ko"):
        sentence = translate("why.without.stopped", language, number=1, most=3)
        assert sentence in to_markdown(replace(RUN, why=(stopped,)), language)
        assert sentence not in to_markdown(replace(RUN, why=(answer,)), language)
    assert parsed(to_markdown(replace(RUN, why=(stopped,))))[3] == "Stopped after 1 of 3 tokens."
    for found, progress in ((answer, ["4", "4"]), (stopped, ["1", "3"])):
        _, (head, *rows) = tables(to_csv(replace(RUN, why=(found,))))
        assert head[-2:] == ["tokens_tried", "tokens_asked"]
        assert [row[-2:] for row in rows] == [progress] * len(found.parts)


def test_a_token_that_ends_a_character_has_one_name() -> None:
    """As in the run's own table and on the page."""
    first, second, last = (2 + byte for byte in "한".encode())  # the bytes come after two specials
    engine = ScriptedEngine([{first: 0.5}, {second: 0.5}, {last: 0.5, "a": 0.25}])
    trace = decoding.trace(engine, "ab", max_new_tokens=4, top_k=2)
    assert trace.text.startswith("ab한")
    pick = trace.steps[2].picked
    leader = LensLayer(pick, (pick.logprob,), (0,))
    part = LeftOut(0, 1, pick.logprob, 0, pick, -1.0)
    rest = LeftOut(1, 3, pick.logprob, 0, pick, -1.0)
    answer = LeaveOneOut(2, "tokens", pick, (part, rest), pick)
    later = LeaveOneOut(3, "tokens", trace.steps[3].picked, (LeftOut(2, 3, -1.0, 0, trace.steps[0].picked),))
    text = to_markdown(replace(trace, why=(answer, Lens(2, (pick.token,), (leader,)), later)))
    _, title, _, without, _, sentence, layers, _, _, whole = parsed(text)
    name, share = "한⟨+9C⟩", f"{pick.probability:.2%}"
    assert f"{name} ({share})" in parsed(text)[0][3][1]
    assert title == f"Step 3: why {name} ({share})?"
    assert without[0][2] == f"Change of ln p({name}) − ln p({name})"
    assert [row[3] for row in without[1:]] == [f"{name} ({share})", f"⟨9C⟩ ({share})"]  # no bytes before it
    assert sentence.startswith(f"{name} is in the lead")
    assert layers == [["Layer", "Leads", name], ["0", f"{name} ({share})", share]]
    assert whole[1][0] == "한"
    head, _ = tables(to_csv(replace(trace, why=(Lens(2, (pick.token,), (leader,)),))))[-1]
    assert head[5:] == [f"{name} ({pick.token_id})"]


@pytest.mark.parametrize("text", [*NASTY.values(), *MARKUP])
def test_nothing_in_an_answer_is_interpreted(text: str) -> None:
    engine = ScriptedEngine([{text: 0.5, "other": 0.2}], words=(text, "other"))
    trace = decoding.trace(engine, "ab", max_new_tokens=2, top_k=2)
    left_out = decoding.leave_one_out(engine, trace, 1, against=trace.steps[1].candidates[1].token_id)
    trace = replace(trace, why=(left_out, lens(trace, 1, other=text)))
    _, title, _, without, _, _, layers = parsed(to_markdown(trace))
    shown = visible(text)
    assert title == f"Step 2: why {shown} (50.00%)?"
    assert without[3][0] == shown
    assert layers[0][2:] == [shown, shown]
    assert layers[2][1] == f"{shown} (62.50%)"
    _, (_, *rows), (head, *_) = tables(to_csv(trace))
    assert rows[2][3].removeprefix("'") == text.removeprefix("'")
    for cell in (*head, *(cell for row in rows for cell in (row[3], row[5], row[12], row[15]))):
        assert not cell.lstrip(" \ufeff").startswith(("=", "+", "-", "@", "\t", "\r"))


def test_a_part_of_a_file_is_not_repeated_at_any_length() -> None:
    """A file may hold a part of the whole prompt, 64 times."""
    prompt = tuple(Token(n + 1, "word ") for n in range(1_000))
    pick = RUN.steps[0].picked
    part = LeftOut(0, 999, pick.logprob, 0, pick)
    trace = replace(RUN, prompt_tokens=prompt, why=(LeaveOneOut(0, "words", pick, (part,)),))
    _, (_, row) = tables(to_csv(trace))
    assert row[3] == "word " * 64


def test_a_mark_that_follows_its_letter_needs_no_dotted_circle() -> None:
    tokens = [Token(n, text) for n, text in enumerate(("हि", "ं", " ", "ि", "\u25cc"))]
    assert joined_label(tokens) == "हिं·\u25ccि\u25cc"


def test_a_character_whose_bytes_are_all_there_is_written_as_that() -> None:
    def joined(*parts: str, before: str = "") -> str:
        return joined_label([Token(0, "\ufffd", bytes.fromhex(part)) for part in parts], bytes.fromhex(before))

    assert joined("ed95", "9c", "20ec", "88", "98") == "한·수"
    assert joined("ed95", "ed", "959c", "9c", "f09f") == "⟨ED 95⟩한⟨9C⟩⟨F0 9F⟩"
    assert joined("9c", "20", before="ed95") == "한⟨+9C⟩·"
