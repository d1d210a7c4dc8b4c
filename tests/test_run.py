"""One run from request to end: what is refused and in which words, why a run ends, and how it grows."""

import json
import math
from typing import Any

import numpy as np
import pytest

import decoding
from decoding.errors import ModelError, RequestError
from decoding.record.trace import Trace
from decoding.run import Run, check_request
from tests.fakes import BEGIN, END, NASTY, NOTEBOOK, ScriptedEngine

NO_NUMBER = (
    "The model's output is not a number (NaN or infinite), so there is no probability to show. "
    "Its files may be damaged: download them again, or choose another model."
)


def refusal(engine: ScriptedEngine, prompt: Any, steps: Any = 2, choices: Any = 3) -> tuple[str | None, str]:
    """The field and the sentence; refused before anything is iterated, the same by both ways in."""
    with pytest.raises(RequestError) as refused:
        decoding.greedy_search(engine, prompt, max_new_tokens=steps, top_k=choices)
    with pytest.raises(RequestError) as again:
        decoding.trace(engine, prompt, max_new_tokens=steps, top_k=choices)
    assert str(again.value) == str(refused.value)
    assert engine.begun == 0
    return refused.value.field, str(refused.value)


# ---- bad input


SURROGATE = "half of a surrogate pair"
PROMPTS: dict[str, tuple[Any, str]] = {
    "NUL": ("ab\0c", "Character 3 of the prompt is a NUL (U+0000): that is not text. Delete it."),
    "high surrogate": ("\ud83c", f"Character 1 of the prompt is {SURROGATE} (U+D83C): that is not text. Delete it."),
    "low surrogate": ("🎉\udf89", f"Character 2 of the prompt is {SURROGATE} (U+DF89): that is not text. Delete it."),
    "too many": ("a" * 100_000, "The prompt has 100,000 characters; at most 50,000 are read. Shorten it."),
    "one too many": ("a" * 50_001, "The prompt has 50,001 characters; at most 50,000 are read. Shorten it."),
    "None": (None, "The prompt has to be text, not nothing."),
    "bytes": (b"abc", "The prompt has to be text, not a value of the type bytes."),
    "a list": (["abc"], "The prompt has to be text, not a list."),
    "a number": (7, "The prompt has to be text, not a number."),
}  # fmt: skip


@pytest.mark.parametrize(("prompt", "sentence"), PROMPTS.values(), ids=PROMPTS)
def test_bad_prompts(scripted: ScriptedEngine, prompt: Any, sentence: str) -> None:
    assert refusal(scripted, prompt) == ("prompt", sentence)


NUMBERS = [
    (0, "0"),
    (-1, "-1"),
    (2.5, "2.5"),
    (True, "true or false"),
    (math.nan, "one that is not finite"),
    (math.inf, "one that is not finite"),
    (-math.inf, "one that is not finite"),
    (1e308, "1e+308"),
    ("8", "“8”"),
    ("x" * 10_000, "“" + "x" * 40 + "”"),
    ("<b>\n", "“<b>↵”"),
    ([], "a list"),
    ({}, "an object"),
    (10**39, f"{10**39:,}"),
    (1_000_000, "1,000,000"),
    (1e9, "1,000,000,000"),
    (-1234.5, "-1,234.5"),
    (10**5000, "one with so many digits"),
    (-(10**5000), "one with so many digits"),
]


@pytest.mark.parametrize(("value", "shown"), NUMBERS, ids=[f"{n} {shown}" for n, (_, shown) in enumerate(NUMBERS)])
@pytest.mark.parametrize(("field", "most"), [("steps", 256), ("choices", 50)])
def test_bad_numbers(scripted: ScriptedEngine, field: str, most: int, value: Any, shown: str) -> None:
    sentence = f"The number of {field} has to be a whole number from 1 to {most}, not {shown}."
    assert refusal(scripted, "a", **{field: value}) == (field, sentence)


@pytest.mark.parametrize("value", [None, ""])
@pytest.mark.parametrize(("field", "most"), [("steps", 256), ("choices", 50)])
def test_an_empty_number(scripted: ScriptedEngine, field: str, most: int, value: Any) -> None:
    sentence = f"The number of {field} is empty or not a number. It has to be a whole number from 1 to {most}."
    assert refusal(scripted, "a", **{field: value}) == (field, sentence)


@pytest.mark.parametrize(("field", "most"), [("steps", 256), ("choices", 50)])
def test_the_limits(scripted: ScriptedEngine, field: str, most: int) -> None:
    assert refusal(scripted, "a", **{field: most + 1})[1].endswith(f"not {most + 1}.")
    for value in (1, most, float(most)):  # a slider sends whole numbers as floats
        request = check_request("a", value if field == "steps" else 1, value if field == "choices" else 1)
        got = request.max_new_tokens if field == "steps" else request.top_k
        assert (got, type(got)) == (int(value), int)


@pytest.mark.parametrize("prompt", NASTY.values(), ids=NASTY)
def test_nasty_prompts_are_kept_as_they_are(scripted: ScriptedEngine, prompt: str) -> None:
    trace = decoding.trace(scripted, prompt, max_new_tokens=1, top_k=1)
    assert trace.prompt == prompt
    assert trace.text == prompt + " most"
    assert scripted.read == [list(trace.prompt_token_ids)]


def test_an_empty_prompt_starts_at_the_beginning_of_text(scripted: ScriptedEngine) -> None:
    trace = decoding.trace(scripted, "", max_new_tokens=1, top_k=1)
    assert scripted.read == [[BEGIN]]
    assert [token.text for token in trace.prompt_tokens] == ["<|begin|>"]
    assert (trace.prompt, trace.text) == ("", " most")


def test_an_empty_prompt_without_a_beginning_of_text() -> None:
    assert refusal(ScriptedEngine(beginning_id=None), "") == (
        "prompt",
        "The prompt is empty, and scripted has no beginning-of-text token to start from. Type something.",
    )


def test_a_beginning_of_text_with_the_id_0() -> None:
    engine = ScriptedEngine(beginning_id=0)
    decoding.trace(engine, "", max_new_tokens=1, top_k=1)
    assert engine.read == [[0]]


def test_a_prompt_that_leaves_too_little_room() -> None:
    engine = ScriptedEngine(context_length=1_010)
    assert refusal(engine, "x" * 1_001, steps=10) == (
        "prompt",
        "The prompt is 1,001 tokens long; if the number of steps is 10, scripted has room for 1,000 (its context is "
        "1,010). Shorten the prompt or use fewer steps.",
    )
    assert len(decoding.trace(engine, "x" * 1_000, max_new_tokens=10, top_k=1).steps) == 10


def test_more_steps_than_the_whole_context() -> None:
    assert (
        "if the number of steps is 12, scripted has room for 0 (its"
        in refusal(ScriptedEngine(context_length=8), "x", steps=12)[1]
    )


def test_a_model_without_a_limit_takes_any_prompt() -> None:
    engine = ScriptedEngine(context_length=None)
    assert len(decoding.trace(engine, "x" * 40_000, max_new_tokens=2, top_k=1).steps) == 2


# ---- a run


def test_the_steps_of_a_run(scripted: ScriptedEngine) -> None:
    trace = decoding.trace(scripted, "Transformers are the", max_new_tokens=4, top_k=3)
    assert trace.generated_text == " most popular toy most"
    assert [step.index for step in trace.steps] == [0, 1, 2, 3]
    assert not any(step.forced for step in trace.steps)
    first = trace.steps[0]
    assert [c.text for c in first.candidates] == [" most", " only", " best"]
    assert [c.rank for c in first.candidates] == [0, 1, 2]
    assert [c.probability for c in first.candidates] == pytest.approx([0.5, 0.25, 0.125], rel=1e-6)
    assert [c.logprob for c in first.candidates] == pytest.approx([math.log(p) for p in (0.5, 0.25, 0.125)], rel=1e-6)
    assert (first.rest, first.margin) == (pytest.approx(0.125), pytest.approx(0.25))
    assert first.picked is first.candidates[0]


def test_more_choices_change_nothing_else() -> None:
    few, many = (decoding.trace(ScriptedEngine(), "a", max_new_tokens=5, top_k=k) for k in (1, 50))
    for one, other in zip(few.steps, many.steps, strict=True):
        assert one.candidates == other.candidates[:1]
        assert (one.picked, one.entropy, one.margin) == (other.picked, other.entropy, other.margin)
        assert one.rest + one.picked.probability == pytest.approx(1, abs=1e-12)


def test_a_vocabulary_of_one() -> None:
    step = decoding.trace(
        ScriptedEngine([np.array([3.0], np.float32)], end_ids=()), "a", max_new_tokens=1, top_k=5
    ).steps[0]
    assert (step.picked.probability, step.rest, step.margin, step.entropy) == (1.0, 0.0, 1.0, 0.0)


def test_search_and_trace_and_lines_are_one_run() -> None:
    steps = list(decoding.greedy_search(ScriptedEngine(), "a", max_new_tokens=4, top_k=3))
    trace = decoding.trace(ScriptedEngine(), "a", max_new_tokens=4, top_k=3)
    lines = list(Run(ScriptedEngine(), check_request("a", 4, 3)).lines())
    assert tuple(steps) == trace.steps
    assert "".join(lines) == trace.to_jsonl()


@pytest.mark.parametrize(
    ("options", "steps", "reason"),
    [
        ({}, 3, "steps"),
        ({"script": [*NOTEBOOK[:2], {END: 0.9}]}, 3, "end_of_text"),
        ({"script": [{END: 0.9}]}, 1, "end_of_text"),
        ({"script": [{BEGIN: 0.9}], "end_ids": (END, BEGIN)}, 1, "end_of_text"),
        ({"script": [{END: 0.9}], "end_ids": ()}, 3, "steps"),
    ],
)
def test_why_a_run_ends(options: dict[str, Any], steps: int, reason: str) -> None:
    trace = decoding.trace(ScriptedEngine(**options), "a", max_new_tokens=3, top_k=2)
    assert (len(trace.steps), trace.stop_reason, trace.message) == (steps, reason, "")


def test_an_engine_that_runs_out_of_context() -> None:
    engine = ScriptedEngine(context_length=8)
    run = Run(engine, check_request("aaaa", 4, 1))
    engine.context_length = 6  # as a server's engine may find out only on the way
    assert len(list(run)) == 2
    assert run.trace.stop_reason == "context_full"


def test_lines_come_one_a_step_as_they_are_known() -> None:
    engine = ScriptedEngine()
    run = Run(engine, check_request("a", 3, 2))
    text, begun = "", []
    for line in run.lines():
        assert line.endswith("\n")
        assert line.count("\n") == 1
        text += line
        begun.append(engine.begun)
    assert begun == [0, 1, 2, 3, 3]
    assert Trace.from_jsonl(text) == run.trace


def test_an_error_in_mid_run_keeps_the_steps() -> None:
    broken = [NOTEBOOK[0], NOTEBOOK[1], np.full(271, math.nan, np.float32)]
    run = Run(ScriptedEngine(broken), check_request("a", 5, 2))
    lines = list(run.lines())
    assert json.loads(lines[-1]) == {"stop_reason": "error", "message": NO_NUMBER}
    trace = Trace.from_jsonl("".join(lines))
    assert (trace.generated_text, trace.stop_reason, trace.message) == (" most popular", "error", NO_NUMBER)
    assert trace == run.trace
    steps = decoding.greedy_search(ScriptedEngine(broken), "a", max_new_tokens=5, top_k=2)
    assert [next(steps).picked.text, next(steps).picked.text] == [" most", " popular"]
    with pytest.raises(ModelError, match="not a number"):
        next(steps)


def test_a_bug_is_not_shown_as_an_error_message() -> None:
    run = Run(ScriptedEngine([NOTEBOOK[0], {"no such word at all": 0.5, "": 0.1}]), check_request("a", 5, 2))
    with pytest.raises(IndexError):
        list(run.lines())


@pytest.mark.parametrize("by_lines", [False, True], ids=["steps", "lines"])
def test_closing_stops_the_engine(scripted: ScriptedEngine, by_lines: bool) -> None:
    run = Run(scripted, check_request("a", 200, 2))
    going: Any = run.lines() if by_lines else iter(run)
    for _ in range(3):
        next(going)
    begun = scripted.begun
    going.close()
    assert (scripted.closed, scripted.begun) == (1, begun)
    assert next(going, None) is None
    assert (run.trace.stop_reason, len(run.trace.steps)) == ("stopped", begun)
    assert Trace.from_jsonl(run.trace.to_jsonl()) == run.trace


def test_a_run_that_is_not_iterated_computes_nothing(scripted: ScriptedEngine) -> None:
    run = Run(scripted, check_request("a", 5, 2))
    assert (scripted.begun, run.trace.steps, run.trace.stop_reason) == (0, (), "stopped")
