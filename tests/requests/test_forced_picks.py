"""Forced picks, from request to record: what is refused, and what a forced run holds."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import decoding
from decoding.errors import FormatError, RequestError
from decoding.record.trace import Trace
from decoding.run import Run, check_request
from tests.fakes import BEGIN, END, NOTEBOOK, ScriptedEngine
from tests.watched import noting, watched

Folder = Callable[[str], Path]
PROMPT = "Transformers are the"


def id_of(engine: ScriptedEngine, text: str) -> int:
    return engine.vocabulary.encode(text)[0]


def run(engine: Any, steps: int = 3, choices: int = 3, forced: Any = ()) -> Trace:
    made = Run(engine, check_request("a", steps, choices, forced))
    for _ in made:
        pass
    return made.trace


# ---- forced picks that are refused

UNFIT: dict[str, tuple[Any, str]] = {
    "None": (None, "Forced picks have to be a list of pairs [step, token id], not nothing."),
    "text": ("[[0, 1]]", "Forced picks have to be a list of pairs [step, token id], not a text."),
    "a dict": ({"0": 1}, "Forced picks have to be a list of pairs [step, token id], not an object."),
    "one pair": ([0, 1], "Forced pick 1 is not a pair of whole numbers [step, token id]."),
    "a triple": ([[0, 1], [1, 2, 3]], "Forced pick 2 is not a pair of whole numbers [step, token id]."),
    "an empty pair": ([[]], "Forced pick 1 is not a pair of whole numbers [step, token id]."),
    "texts": ([["0", "1"]], "Forced pick 1 is not a pair of whole numbers [step, token id]."),
    "truths": ([[False, True]], "Forced pick 1 is not a pair of whole numbers [step, token id]."),
    "halves": ([[0, 1.5]], "Forced pick 1 is not a pair of whole numbers [step, token id]."),
    "no number": ([[math.nan, 1]], "Forced pick 1 is not a pair of whole numbers [step, token id]."),
    "endless": ([[0, math.inf]], "Forced pick 1 is not a pair of whole numbers [step, token id]."),
    "nothing": ([[0, None]], "Forced pick 1 is not a pair of whole numbers [step, token id]."),
    "beyond the steps": ([[3, 5]], "Forced pick 1 is at step 4 (counted from 1), but this run has the steps 1 to 3."),
    "before the steps": ([[-1, 5]], "Forced pick 1 is at step 0 (counted from 1), but this run has the steps 1 to 3."),
    "far beyond": (
        [[10**5000, 5]],
        "Forced pick 1 is at step one with so many digits (counted from 1), but this run has the steps 1 to 3.",
    ),
    "an id below 0": ([[0, 5], [1, -1]], "Forced pick 2 has the token id -1: no id is below 0."),
    "twice": (
        [[1, 5], [1, 6]],
        "Forced pick 2 is at step 2 (counted from 1), after one at step 2; each has to come later.",
    ),
    "backwards": (
        [[2, 5], [0, 6]],
        "Forced pick 2 is at step 1 (counted from 1), after one at step 3; each has to come later.",
    ),
    "an id too many": (
        [[1, 271]],
        "The token id 271, forced at step 2 (counted from 1), does not exist: scripted has the ids 0 to 270.",
    ),
    "a huge id": (
        [[1, 10**5000]],
        "The token id one with so many digits, forced at step 2 (counted from 1), does not exist: scripted has the ids "
        "0 to 270.",
    ),
    "very many": (
        [[n, 5] for n in range(10**5)],
        "Forced pick 4 is at step 4 (counted from 1), but this run has the steps 1 to 3.",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("forced", "sentence"), UNFIT.values(), ids=UNFIT)
def test_unfit_picks_are_refused_before_anything_runs(scripted: ScriptedEngine, forced: Any, sentence: str) -> None:
    with pytest.raises(RequestError) as refused:
        Run(scripted, check_request("a", 3, 2, forced))
    assert (refused.value.field, str(refused.value)) == ("forced", sentence)
    assert scripted.begun == 0


def test_picks_as_a_browser_sends_them() -> None:
    request = check_request("a", 3, 2, [[0, 5.0], (2.0, 0)])
    assert request.forced == ((0, 5), (2, 0))
    assert {type(n) for pair in request.forced for n in pair} == {int}


# ---- forced picks


def test_a_forced_run(scripted: ScriptedEngine) -> None:
    only = id_of(scripted, " only")
    trace = run(scripted, forced=[[0, only]])
    assert trace.generated_text == " only popular toy"
    assert [step.forced for step in trace.steps] == [True, False, False]
    assert trace.steps[0].picked is trace.steps[0].candidates[1]
    assert trace.steps[0].candidates == run(ScriptedEngine()).steps[0].candidates
    assert scripted.read == [scripted.vocabulary.encode("a"), [only], [id_of(scripted, " popular")]]


def test_a_pick_far_outside_the_candidates(scripted: ScriptedEngine) -> None:
    trace = run(scripted, choices=2, forced=[[1, 270]])
    step = trace.steps[1]
    # Two ids are ahead by the script; the other 269 share what is left evenly, the lower id first.
    assert (step.picked.token_id, step.picked.text, step.picked.rank) == (270, "=1+1", 270)
    assert step.picked.probability == pytest.approx(0.125 / 269)
    assert len(step.candidates) == 2
    assert step.margin == pytest.approx(0.625)
    assert Trace.from_jsonl(trace.to_jsonl()) == trace


def test_forcing_argmax_is_forcing(scripted: ScriptedEngine) -> None:
    trace = run(scripted, forced=[[0, id_of(scripted, " most")]])
    assert [step.forced for step in trace.steps] == [True, False, False]
    assert [replace(step, forced=False) for step in trace.steps] == list(run(ScriptedEngine()).steps)


def test_an_impossible_token_can_be_forced() -> None:
    script = [{" most": 0.5, " only": 0.5}]
    engine = ScriptedEngine(script)
    trace = run(engine, forced=[[0, id_of(engine, " toy")]])
    picked = trace.steps[0].picked
    assert (picked.probability, picked.logprob) == (0.0, -math.inf)
    assert (trace.logprob, trace.perplexity) == (-math.inf, math.inf)
    assert Trace.from_jsonl(trace.to_jsonl()) == trace


def test_the_end_of_text_can_be_forced_and_refused() -> None:
    engine = ScriptedEngine([NOTEBOOK[0], {END: 0.9}, NOTEBOOK[2]])
    ended = run(engine, forced=[[0, END]])
    assert (len(ended.steps), ended.stop_reason) == (1, "end_of_text")
    went_on = run(engine, forced=[[1, BEGIN]])
    assert (len(went_on.steps), went_on.stop_reason, went_on.steps[1].picked.text) == (3, "steps", "<|begin|>")


def test_a_pick_after_the_end_of_text() -> None:
    made = Run(ScriptedEngine([NOTEBOOK[0], {END: 0.9}]), check_request("a", 9, 2, [[0, 5], [4, 6]]))
    lines = list(made.lines())
    sentence = (
        "The text ended after 2 steps, before the pick forced at step 5 (counted from 1). "
        "Undo that pick, or one before it."
    )
    assert json.loads(lines[-1]) == {"stop_reason": "error", "message": sentence}
    assert len(Trace.from_jsonl("".join(lines)).steps) == 2  # nothing lost
    with pytest.raises(RequestError) as refused:
        list(made)
    assert refused.value.field == "forced"


def test_stopping_before_a_pick_is_no_error(scripted: ScriptedEngine) -> None:
    made = Run(scripted, check_request("a", 9, 2, [[8, 5]]))
    steps: Any = iter(made)
    next(steps)
    steps.close()
    assert made.trace.stop_reason == "stopped"


def forged(trace: Trace, step: int, **values: Any) -> str:
    lines = trace.to_jsonl().splitlines()
    record = json.loads(lines[step + 1])
    record["picked"] |= values
    lines[step + 1] = json.dumps(record)
    return "\n".join(lines)


@pytest.mark.parametrize(
    "values",
    [
        {"rank": 1},
        {"rank": 0},
        {"token_id": 258},
        {"probability": 0.9, "logprob": math.log(0.9)},
        {"probability": 0.2501, "logprob": math.log(0.2501)},
    ],
)
def test_a_forged_pick_is_refused(scripted: ScriptedEngine, values: dict[str, Any]) -> None:
    trace = run(scripted, choices=2, forced=[[0, 270]])
    assert Trace.from_jsonl(forged(trace, 0)) == trace
    with pytest.raises(FormatError) as refused:
        Trace.from_jsonl(forged(trace, 0, **values))
    assert str(refused.value) == "Line 2 of the run cannot be right: its pick contradicts its candidates."


def test_lines_of_remembered_steps_come_one_by_one(tiny_folder: Folder) -> None:
    passes: list[object] = []
    engine = watched(decoding.load(str(tiny_folder("llama")), device="cpu"), read=noting(passes))
    parent = decoding.trace(engine, PROMPT, max_new_tokens=8, top_k=3)
    passes.clear()
    made = Run(engine, check_request(PROMPT, 8, 3, [[6, parent.steps[6].candidates[1].token_id]]))
    counts = []
    for line in made.lines():
        assert line.count("\n") == 1
        counts.append(len(passes))
    # A header, seven remembered steps, one pass, the end.
    assert counts == [0] * 8 + [1, 1]
