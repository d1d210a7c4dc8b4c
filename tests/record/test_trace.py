"""The record of a run: what it adds up to, its table, and JSON Lines both ways, strict on the way in."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import decoding
from decoding.record.tokens import Token
from decoding.record.trace import NO_ID, Candidate, ModelInfo, Step, Trace
from tests.fakes import NASTY, ScriptedEngine

ROOT = Path(__file__).resolve().parents[2]
RECORDED = sorted((ROOT / "assets" / "recorded").glob("*.jsonl"))
PRINTED = json.loads((ROOT / "tests" / "reference" / "gpt2_xl_notebook_table.json").read_text("utf-8"))

# All that can be written as UTF-8: no lone surrogates.
texts = st.one_of(st.text(), st.sampled_from([*NASTY.values(), ""]))


@st.composite
def vocabularies(draw: st.DrawFn) -> list[Token]:
    """Some tokens of one tokenizer, the prompt the first of them; or those of a source that printed no ids."""
    whole = draw(st.lists(texts, min_size=8, max_size=8))
    parts = draw(st.lists(st.binary(min_size=1, max_size=4), min_size=2, max_size=2))
    tokens = [(text, None) for text in whole] + [(part.decode("utf-8", "replace"), part) for part in parts]
    first = draw(st.one_of(st.just(NO_ID), st.integers(0, 10**6)))
    return [Token(NO_ID if first == NO_ID else first + n, *token) for n, token in enumerate(tokens)]


@st.composite
def steps(draw: st.DrawFn, index: int, tokens: list[Token], top_k: int) -> Step:
    weights = draw(st.lists(st.one_of(st.just(0.0), st.floats(1e-9, 1)), min_size=top_k + 1, max_size=top_k + 1))
    total = math.fsum(weights) or 1.0
    shares = sorted((weight / total for weight in weights), reverse=True) if any(weights) else [1.0, *weights[1:]]
    shown = shares[:top_k]
    candidates = tuple(
        Candidate(token.token_id, token.text, share, math.log(share) if share else -math.inf, rank, token.bytes)
        for rank, (share, token) in enumerate(zip(shown, draw(st.permutations(tokens)), strict=False))
    )
    forced = draw(st.booleans())
    entropy = abs(math.fsum(share * math.log(share) for share in shares if share))
    return Step(
        index=index,
        picked=draw(st.sampled_from(candidates)) if forced else candidates[0],
        forced=forced,
        candidates=candidates,
        rest=min(1.0, max(0.0, 1 - math.fsum(shown))),
        entropy=draw(st.sampled_from([math.nan, entropy])),
        margin=shares[0] - shares[1],
    )


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    tokens, top_k = draw(vocabularies()), draw(st.integers(1, 5))
    made = tuple(draw(steps(index, tokens, top_k)) for index in range(draw(st.integers(0, 3))))
    reason = draw(st.sampled_from(["steps", "end_of_text", "context_full", "stopped", "error"][: 5 if made else 1]))
    return Trace(
        model=draw(st.builds(ModelInfo, texts, texts, texts, texts, texts, texts)),
        prompt=tokens[0].text,
        prompt_tokens=() if tokens[0].token_id == NO_ID else (tokens[0],),
        max_new_tokens=len(made) + (reason == "context_full"),
        top_k=top_k,
        steps=made,
        stop_reason=reason,
        message=draw(texts) if reason == "error" else "",
        note=draw(texts),
    )


VOCABULARY = ScriptedEngine().vocabulary


@pytest.fixture(scope="module")
def run() -> Trace:
    return decoding.trace(ScriptedEngine(), "Transformers are the", max_new_tokens=3, top_k=3)


# ---- both ways


@settings(max_examples=60)
@given(trace=traces())
def test_round_trip(trace: Trace) -> None:
    text = trace.to_jsonl()
    assert text.encode()  # as a file
    back = Trace.from_jsonl(text)
    assert back.to_jsonl() == text
    # NaN differs from itself, so the entropies are compared as they are written.
    assert repr(back) == repr(trace)


@pytest.mark.parametrize("text", NASTY.values(), ids=NASTY)
def test_nasty_texts_are_one_line_each(run: Trace, text: str) -> None:
    tokens = VOCABULARY.tokens(VOCABULARY.encode(text))
    trace = replace(run, prompt=text, prompt_tokens=tokens, stop_reason="error", message=text, note=text)
    assert len(trace.to_jsonl().split("\n")) == 3 + 2 + 1
    assert Trace.from_jsonl(trace.to_jsonl()) == trace


def test_each_line_is_plain_json_with_the_names_of_the_design(run: Trace) -> None:
    header, first, *_, end = map(json.loads, run.to_jsonl().splitlines())
    assert (header["format"], header["version"], header["prompt"]) == ("greedyscope", 1, "Transformers are the")
    assert header["prompt_token_ids"] == [token["token_id"] for token in header["prompt_tokens"]]
    assert set(first) == {"index", "picked", "forced", "candidates", "rest", "entropy", "margin", "log_sums"}
    assert set(first["picked"]) == {"token_id", "text", "probability", "logprob", "rank"}
    assert end == {"stop_reason": "steps"}


def test_infinity_and_nan_are_null_and_come_back() -> None:
    sure = decoding.trace(ScriptedEngine([{" most": 1.0}]), "a", max_new_tokens=1, top_k=3)
    sure = replace(sure, steps=(replace(sure.steps[0], entropy=math.nan),))
    line = json.loads(sure.steps[0].to_json(), parse_constant=pytest.fail)
    assert (line["candidates"][2]["logprob"], line["entropy"]) == (None, None)
    back = Trace.from_jsonl(sure.to_jsonl()).steps[0]
    assert back.candidates[2].logprob == -math.inf
    assert math.isnan(back.entropy)


def test_a_growing_run_only_grows(run: Trace) -> None:
    text = ""
    for count in range(4):
        so_far = replace(run, steps=run.steps[:count], stop_reason="stopped")
        lines = so_far.to_jsonl().splitlines(keepends=True)
        without_end = "".join(lines[:-1])
        assert without_end.startswith(text)
        assert len(lines) == count + 2
        assert Trace.from_jsonl(so_far.to_jsonl()) == so_far
        text = without_end


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_recorded_runs_are_as_they_would_be_written_today(path: Path) -> None:
    text = path.read_text("utf-8")
    assert Trace.from_jsonl(text).to_jsonl() == text


def test_windows_line_ends_are_read(run: Trace) -> None:
    assert Trace.from_jsonl(run.to_jsonl().replace("\n", "\r\n")) == run


# ---- what a run adds up to


def test_sums(run: Trace) -> None:
    assert run.generated_token_ids == (258, 261, 262)
    assert run.generated_text == " most popular toy"
    assert run.text == "Transformers are the most popular toy"
    assert run.logprob == pytest.approx(math.log(0.5 * 0.75 * 0.4))
    assert run.perplexity == pytest.approx((0.5 * 0.75 * 0.4) ** (-1 / 3))


def test_a_run_of_no_steps(run: Trace) -> None:
    empty = replace(run, steps=(), stop_reason="stopped")
    assert (empty.text, empty.generated_text, empty.logprob) == (run.prompt, "", 0.0)
    assert math.isnan(empty.perplexity)
    assert empty.to_frame().shape[0] == 0
    assert Trace.from_jsonl(empty.to_jsonl()) == empty


# ---- the table


def test_the_notebooks_table_cell_by_cell() -> None:
    trace = Trace.from_jsonl((ROOT / "assets" / "recorded" / "gpt2_xl_notebook_table.jsonl").read_text("utf-8"))
    frame = trace.to_frame()
    assert list(frame.columns) == ["Input", *(f"Choice {n}" for n in range(1, 6))]
    expected = [
        [step["input"], *(f"{choice['text']} ({choice['percent']:.2f}%)" for choice in step["choices"])]
        for step in PRINTED["steps"]
    ]
    assert frame.iloc[0, 1] == "most (8.53%)"
    # In its fourth row the notebook printed "line" twice: with the space and without it.
    printed = [[cell.replace("·", "") for cell in row] for row in frame.to_numpy().tolist()]
    assert printed == expected
    assert sum(len(row) - 1 for row in printed) == 40
    assert trace.generated_text == PRINTED["generated_text"]


def test_spaces_are_shown_only_where_they_tell_two_choices_apart() -> None:
    engine = ScriptedEngine([{" most": 0.5, "most": 0.2, " ": 0.1, "\n": 0.05}], words=(" most", "most", " ", "\n"))
    frame = decoding.trace(engine, "a", max_new_tokens=2, top_k=4).to_frame()
    assert frame.iloc[1].tolist() == ["a most", "·most (50.00%)", "most (20.00%)", "· (10.00%)", "↵ (5.00%)"]


def test_fewer_tokens_than_choices() -> None:
    engine = ScriptedEngine([np.array([0.0, 1.0, 2.0], np.float32)])
    frame = decoding.trace(engine, "a", max_new_tokens=1, top_k=50).to_frame()
    assert list(frame.columns) == ["Input", "Choice 1", "Choice 2", "Choice 3"]


def test_a_run_from_before_models_said_why_is_still_a_run(run: Trace) -> None:
    assert '"why"' not in run.to_jsonl()  # what is empty is not written, so older readers read it too
    why = replace(run, model=replace(run.model, why="no GPU was found; float32 fits"))
    assert Trace.from_jsonl(why.to_jsonl()) == why
    assert Trace.from_jsonl(why.to_jsonl().replace(',"why":"no GPU was found; float32 fits"', "")) == run


# ---- as a result in a notebook and in a terminal


def test_a_run_shows_itself_as_its_table(run: Trace) -> None:
    shown: list[str] = []
    printer = type("Printer", (), {"text": lambda _, text: shown.append(text)})()
    run._repr_pretty_(printer, False)
    assert shown == [str(run)]
    assert str(run).splitlines()[0].split() == ["Input", "Choice", "1", "Choice", "2", "Choice", "3"]
    assert "most (50.00%)" in str(run)
    assert repr(run).startswith("Trace(model=ModelInfo(id='scripted'")
    # What it is in a browser: test_standalone.
    assert run._repr_html_().startswith('<iframe sandbox="allow-scripts" title="Greedyscope: Transformers are the')
