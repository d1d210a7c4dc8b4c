"""The probability of a text that one names equals that of a run that picks it, in or out of the candidates shown."""

import json
import math

import numpy as np
import pytest

import decoding
from decoding.engines.local_engine import LocalEngine
from decoding.errors import RequestError
from decoding.questions.continuation_probability import probability_after
from tests.fakes import ScriptedEngine

PROMPT = "Transformers are the"


def test_it_is_what_a_run_has_that_picks_these_tokens(starter: LocalEngine) -> None:
    run = decoding.trace(starter, PROMPT, max_new_tokens=4, top_k=3)
    text = " popular robots"
    named = decoding.probability(starter, run, 2, text)
    ids = [token.token_id for token in named.tokens]
    assert starter.vocabulary.text_after([], ids) == text
    # Picked one after the other, they are far from what is shown, and have the same numbers.
    branch = decoding.branch(starter, run, 2, ids[0], max_new_tokens=4)
    branch = decoding.branch(starter, branch, 3, ids[1], max_new_tokens=4)
    for token, step in zip(named.tokens, branch.steps[2:], strict=True):
        assert token.rank == step.picked.rank
        assert token.probability == pytest.approx(step.picked.probability, rel=1e-4)
    assert named.tokens[0].token_id not in {c.token_id for c in run.steps[2].candidates}
    assert named.logprob == pytest.approx(math.fsum(token.logprob for token in named.tokens))
    # A candidate that is shown, and the place after the last step.
    shown = run.steps[1].candidates[1]
    (token,) = decoding.probability(starter, run, 1, shown.text).tokens
    assert (token.token_id, token.rank) == (shown.token_id, 1)
    assert token.probability == pytest.approx(shown.probability, abs=2e-5)
    assert len(decoding.probability(starter, run, 4, " and").tokens) == 1


def test_it_is_exact_over_the_whole_vocabulary() -> None:
    engine = ScriptedEngine()
    run = decoding.trace(engine, "x", max_new_tokens=1, top_k=1)
    begun = engine.begun
    named = decoding.probability(engine, run, 0, " best most")
    assert engine.begun == begun + 1  # one pass, and no run
    assert [token.text for token in named.tokens] == [" best", " most"]
    assert [token.rank for token in named.tokens] == [2, 1]
    assert named.probability == pytest.approx(0.125 * 0.125)
    said = json.loads(named.to_json())
    assert said["probability"] == pytest.approx(1 / 64)
    assert [token["rank"] for token in said["tokens"]] == [2, 1]


def test_an_impossible_text_has_probability_0() -> None:
    logits = np.full(271, -np.inf, np.float32)
    logits[5] = 0
    named = probability_after(ScriptedEngine([logits]), "x", [], " best")
    assert named.probability == 0
    assert json.loads(named.to_json())["logprob"] is None


@pytest.mark.parametrize("step", [-1, 2, 0.5, "1", None, True])
def test_a_step_that_is_not_there_is_refused(step: object) -> None:
    run = decoding.trace(ScriptedEngine(), "x", max_new_tokens=1, top_k=1)
    with pytest.raises(RequestError, match="The step to read a text at has to be from 0 to 1, not"):
        decoding.probability(ScriptedEngine(), run, step, " most")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("picked", "text", "said"),
    [
        (None, "a", "Token ids have to be a list, not nothing."),
        ([0.5], "a", "The picked ids have to be ids of scripted, 0 to 270, not 0.5."),
        ([[1]], "a", "The picked ids have to be ids of scripted, 0 to 270, not a list."),
        ([None], "a", "The picked ids have to be ids of scripted, 0 to 270, not nothing."),
        ([10**6], "a", "The picked ids have to be ids of scripted, 0 to 270, not 1000000."),
        ([271], "a", "The picked ids have to be ids of scripted, 0 to 270, not 271."),
        ([5] * 1001, "a", "There are 1,001 picked ids, and at most 1,000 are read."),
        ([], "", "The text is empty"),
        ([], 5, "The given text has to be text, not a number."),
        ([], "a" * 1_200, "at most 1,000 are read"),
        ([5] * 1_000, "a" * 30, "have room after the prompt's 1,001 in scripted"),
    ],
)
def test_what_cannot_be_read_is_refused(picked: object, text: object, said: str) -> None:
    with pytest.raises(RequestError, match=said) as caught:
        probability_after(ScriptedEngine(), "x", picked, text)
    assert caught.value.field == "text"
