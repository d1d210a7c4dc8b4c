"""Branches of runs, and the traces that are refused as no run of this model."""

from dataclasses import replace
from typing import Any

import pytest

import decoding
from decoding.engines.local_engine import LocalEngine
from decoding.engines.prefix_cache import PrefixCache
from decoding.errors import RequestError
from decoding.record.trace import Trace
from decoding.run import Run, check_request
from tests.altered_runs import altered
from tests.fakes import ScriptedEngine

PROMPT = "Transformers are the"


def id_of(engine: ScriptedEngine, text: str) -> int:
    return engine.vocabulary.encode(text)[0]


def check_close(one: Trace, other: Trace) -> None:
    assert one.generated_token_ids == other.generated_token_ids
    for ours, theirs in zip(one.steps, other.steps, strict=True):
        assert ours.picked.rank == theirs.picked.rank
        for a, b in zip((*ours.candidates, ours.picked), (*theirs.candidates, theirs.picked), strict=True):
            assert a.token_id == b.token_id
            assert a.probability == pytest.approx(b.probability, abs=1e-5)
        assert ours.margin == pytest.approx(theirs.margin, abs=2e-5)


def test_a_branch(scripted: ScriptedEngine) -> None:
    parent = decoding.trace(scripted, "a", max_new_tokens=4, top_k=3)
    child = decoding.branch(scripted, parent, 1, id_of(scripted, " best"), max_new_tokens=6)
    assert child.generated_text == " most best toy most popular toy"
    assert [step.forced for step in child.steps] == [False, True, False, False, False, False]
    grandchild = decoding.branch(scripted, child, 3, id_of(scripted, " only"), max_new_tokens=4)
    assert grandchild.generated_text == " most best toy only"
    assert [step.index for step in grandchild.steps if step.forced] == [1, 3]
    # Before the fork of its parent, it has nothing of it.
    other = decoding.branch(scripted, child, 0, id_of(scripted, " only"), max_new_tokens=2)
    assert (other.generated_text, other.steps[1].forced) == (" only popular", False)


@pytest.mark.parametrize(
    ("step", "said"),
    [(-1, "-1"), (4, "4"), (10**5, "100,000"), (1.5, "1.5"), ("1", "“1”"), (None, "nothing"), (True, "true or false")],
    ids=repr,
)
def test_a_step_that_does_not_exist(scripted: ScriptedEngine, step: Any, said: str) -> None:
    parent = decoding.trace(scripted, "a", max_new_tokens=4, top_k=3)
    begun = scripted.begun
    with pytest.raises(RequestError) as refused:
        decoding.branch(scripted, parent, step, 5, max_new_tokens=4)
    assert str(refused.value) == (
        f"The step to branch at has to be one of this run's, counted from 0 to 3, not {said}."
    )
    assert (refused.value.field, scripted.begun) == ("forced", begun)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"token_id": 271},
            "The token id 271, forced at step 4 (counted from 1), does not exist: scripted has the ids 0 to 270.",
        ),
        ({"token_id": -1}, "Forced pick 1 has the token id -1: no id is below 0."),
        (
            {"max_new_tokens": 3},
            "The branch begins at step 4 (counted from 1), so it has to have 4 steps or more, not 3.",
        ),
        ({"max_new_tokens": 257}, "The number of steps has to be a whole number from 1 to 256, not 257."),
    ],
)
def test_other_unfit_branches(scripted: ScriptedEngine, options: dict[str, Any], sentence: str) -> None:
    parent = decoding.trace(scripted, "a", max_new_tokens=4, top_k=3)
    with pytest.raises(RequestError) as refused:
        decoding.branch(scripted, parent, 3, **({"token_id": 5, "max_new_tokens": 4} | options))
    assert str(refused.value) == sentence


def test_altered_traces_are_refused(scripted: ScriptedEngine) -> None:
    parent = decoding.trace(scripted, "a", max_new_tokens=4, top_k=3)
    wrong = parent.steps[1].candidates[1].token_id
    other_info = replace(parent.model, id="gpt2")
    ids = "This run holds token ids that scripted does not write: it was altered."
    strange = replace(parent.steps[2].picked, token_id=999)
    cases = {
        "This run was made by gpt2, not by scripted. Choose that model.": replace(parent, model=other_info),
        ids: replace(parent, prompt="b"),
        f"{ids} ": replace(parent, steps=(*parent.steps[:2], replace(parent.steps[2], picked=strange))),
        f"At step 2 (counted from 1) this run has the token id {wrong}, and scripted picks "
        f"{parent.steps[1].picked.token_id}: the run was altered, or made in another precision. "
        "Run the prompt again.": altered(parent, 1, 1),
    }
    for sentence, trace in cases.items():
        with pytest.raises(RequestError) as refused:
            decoding.branch(scripted, trace, 2, 5, max_new_tokens=4)
        assert str(refused.value) == sentence.rstrip()
    # What lies behind the fork does not matter.
    assert len(decoding.branch(scripted, altered(parent, 2, 1), 2, 5, max_new_tokens=4).steps) == 4


def test_on_the_real_starter(starter: LocalEngine) -> None:
    starter.prefix_cache = PrefixCache(starter.network)  # nothing that other tests computed beside others
    parent = decoding.trace(starter, PROMPT, max_new_tokens=8, top_k=5)
    token_id = parent.steps[3].candidates[2].token_id
    child = decoding.branch(starter, parent, 3, token_id, max_new_tokens=8)
    assert child.steps[:3] == parent.steps[:3]
    assert child.generated_token_ids != parent.generated_token_ids
    starter.prefix_cache = PrefixCache(starter.network)  # another process
    check_close(child, decoding.branch(starter, parent, 3, token_id, max_new_tokens=8))
    check_close(child, decoding.score(starter, PROMPT, child.generated_text, top_k=5))
    assert decoding.trace(starter, PROMPT, max_new_tokens=8, top_k=5) == parent  # bit by bit
    assert Trace.from_jsonl(child.to_jsonl()) == child
    # Two runs, step by step beside each other.
    requests = [check_request(PROMPT, 8, 5, [[3, token_id]]), check_request("Unicorns", 8, 5)]
    alone = decoding.trace(starter, "Unicorns", max_new_tokens=8, top_k=5)
    both = [Run(starter, request) for request in requests]
    for _ in zip(*both, strict=True):
        pass
    check_close(both[0].trace, child)
    assert both[1].trace == alone
