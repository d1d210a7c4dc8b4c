"""How a run's tokens were drawn, in the record: what it keeps, and what contradicts itself."""

import json
from typing import Any

import pytest

import decoding
from decoding import Sampling
from decoding.errors import FormatError
from decoding.record.trace import Trace
from decoding.requests.run_request import check_request
from decoding.run import Run
from tests.fakes import END, ScriptedEngine


def scripted_run(**options: Any) -> Trace:
    run = Run(ScriptedEngine(), check_request("x", 4, 3, sampling=Sampling(**options)))
    for _ in run:
        pass
    return run.trace


def test_a_drawn_end_ends_the_text_and_may_be_passed_over() -> None:
    engine = ScriptedEngine([{END: 0.9, " most": 0.1}])
    how = Sampling(seed=1)
    assert decoding.sample(engine, "x", sampling=how, max_new_tokens=3, top_k=2).stop_reason == "end_of_text"
    run = decoding.sample(engine, "x", sampling=how, max_new_tokens=3, top_k=2, past_end=True)
    assert run.stop_reason == "steps"
    assert [step.past_end for step in run.steps] == [True] * 3
    assert [step.draw and step.draw.probabilities for step in run.steps] == [(0.0, 1.0)] * 3
    assert Trace.from_jsonl(run.to_jsonl()) == run


def test_cut_tokens_have_no_share_and_stay_in_the_record() -> None:
    run = scripted_run(top_k=2)
    first = run.steps[0]
    assert first.draw is not None
    assert [c.text for c in first.candidates] == [" most", " only", " best"]
    assert first.draw.probabilities == pytest.approx((2 / 3, 1 / 3, 0))
    assert first.draw.kept == 2


def test_a_run_draws_from_its_first_step_on() -> None:
    run = scripted_run(first=2, seed=3)
    assert [step.draw is None for step in run.steps] == [True, True, False, False]
    header = json.loads(run.to_jsonl().splitlines()[0])
    assert header["sampling"]["first"] == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"draw": {"picked": 0.9}}, "its pick contradicts its draw"),
        ({"draw": {"probabilities": [0.5, 0.25]}}, "another number of probabilities"),
        ({"draw": {"probabilities": [0.9, 0.5, 0.1]}}, "more than the whole probability"),
        ({"draw": {"kept": 0}}, "from 1 to"),
        ({"draw": {"kept": 1}}, "more tokens than it kept"),
        ({"draw": {"number": 1}}, "not less than 1"),
        ({"draw": {"number": "0.5"}}, "a number from 0 to 1"),
        ({"draw": {"seed": 1}}, "no such field"),
        ({"draw": None}, "it has to be an object"),
        ({}, "it was not drawn"),
    ],
)
def test_a_step_that_contradicts_its_draw_is_refused(change: dict[str, Any], said: str) -> None:
    lines = [json.loads(line) for line in scripted_run().to_jsonl().splitlines()]
    step = next(line for line in lines[1:] if not line["forced"])
    if not change:
        del step["draw"]
    elif change["draw"] is None:
        step["draw"] = None
    else:
        step["draw"] |= change["draw"]
    with pytest.raises(FormatError, match=said):
        Trace.from_jsonl("\n".join(map(json.dumps, lines)))


@pytest.mark.parametrize(
    ("sampling", "said"),
    [
        ({"temperature": 0.5}, "at the run's temperature"),
        ({"temperature": 0}, "a number from 0.01 to 100"),
        ({"top_p": 1.1}, "a number from 0 to 1"),
        ({"seed": -1}, "a whole number from 0"),
        ({"first": 2}, "does not draw there"),
        ({"noise": 2}, "no such field"),
        (None, "it has to be an object"),
    ],
)
def test_a_header_that_contradicts_its_draws_is_refused(sampling: Any, said: str) -> None:
    lines = [json.loads(line) for line in scripted_run().to_jsonl().splitlines()]
    lines[0]["sampling"] = sampling and (lines[0]["sampling"] | sampling)
    with pytest.raises(FormatError, match=said):
        Trace.from_jsonl("\n".join(map(json.dumps, lines)))
