"""Runs that draw: a seed is one text on every engine, and many draws at once are counted."""

import json
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import decoding
from decoding import Sampling, cancellation
from decoding.engines.batching.engine import BatchedEngine
from decoding.engines.local_engine import LocalEngine
from decoding.engines.zero_gpu import ZeroGpuEngine
from decoding.errors import RequestError
from decoding.questions.sampled_runs import draw_runs
from decoding.questions.verify import recompute
from decoding.record.trace import Trace
from decoding.requests.run_request import check_request
from decoding.run import Run
from tests.fakes import ScriptedEngine

HOW = Sampling(temperature=0.9, top_k=50, top_p=0.98, seed=4)
STEPS = 10


@pytest.mark.parametrize("architecture", ["llama", "mamba"])
def test_the_same_seed_gives_the_same_text_everywhere(tiny_folder: Callable[[str], Path], architecture: str) -> None:
    engines = [decoding.load(str(tiny_folder(architecture)), device="cpu", engine=name) for name in ("auto", "torch")]
    runs = [decoding.sample(engine, "x", sampling=HOW, max_new_tokens=STEPS, top_k=5) for engine in engines]
    assert runs[0].generated_token_ids == runs[1].generated_token_ids
    shared, lent = BatchedEngine(engines[0]), ZeroGpuEngine(engines[0])
    for other in (shared, lent):
        again = decoding.sample(other, "x", sampling=HOW, max_new_tokens=STEPS, top_k=5)
        assert again.generated_token_ids == runs[0].generated_token_ids
    # Twenty at once, in one batch: each is the run of its seed, as if it had been alone.
    request = check_request("x", STEPS, 5, sampling=HOW)
    count = 20 if architecture == "llama" else 3
    found = draw_runs(shared, request, count=count, at_once=count)
    assert found.runs[0].generated_token_ids == runs[0].generated_token_ids
    alone = decoding.draws(engines[1], "x", sampling=HOW, max_new_tokens=STEPS, top_k=5, count=count)
    assert [run.generated_token_ids for run in found.runs] == [run.generated_token_ids for run in alone.runs]
    assert len(found.texts) > 1
    assert found.greedy == decoding.trace(shared, "x", max_new_tokens=STEPS, top_k=5)


def test_the_starter_draws(starter: LocalEngine) -> None:
    run = decoding.sample(starter, "Transformers are the", sampling=HOW, max_new_tokens=8, top_k=5)
    greedy = decoding.trace(starter, "Transformers are the", max_new_tokens=8, top_k=5)
    first = run.steps[0]
    assert first.draw is not None
    # The recorded probabilities are those of greedy decoding; the draw is beside them.
    assert [c.token_id for c in first.candidates] == [c.token_id for c in greedy.steps[0].candidates]
    assert [c.probability for c in first.candidates] == pytest.approx(
        [c.probability for c in greedy.steps[0].candidates], abs=1e-6
    )
    assert first.draw.kept <= HOW.top_k
    assert any(step.forced for step in run.steps)
    for step in run.steps:
        assert step.draw is not None
        assert step.forced == (step.picked.rank > 0)
        assert not step.chosen
    assert Trace.from_jsonl(run.to_jsonl()) == run
    assert recompute(starter, run) < 1e-5
    # A person's pick in between: the draws before it stay, and those after it take the numbers of their steps.
    other = next(c for c in run.steps[3].candidates if c.token_id != run.steps[3].picked.token_id)
    branch = decoding.branch(starter, run, 3, other.token_id, max_new_tokens=8)
    assert branch.generated_token_ids[:4] == (*run.generated_token_ids[:3], other.token_id)
    assert branch.steps[3].chosen
    numbers = [step.draw and step.draw.number for step in run.steps]
    assert [step.draw and step.draw.number for step in branch.steps[4:]] == numbers[4:]
    # After it all, a greedy run is what it was: nothing that was drawn is kept for it.
    assert (
        decoding.trace(starter, "Transformers are the", max_new_tokens=8, top_k=5).generated_text
        == greedy.generated_text
    )
    with pytest.raises(RequestError, match="drew its tokens"):
        decoding.agreement(starter, run)


def test_what_was_drawn_is_not_taken_for_argmax(tiny_folder: Callable[[str], Path]) -> None:
    """The kept caches of drawn runs serve other runs, with the picks of those."""
    engine, fresh = (decoding.load(str(tiny_folder("llama")), engine="torch") for _ in range(2))
    drawn = decoding.sample(engine, "x", sampling=HOW, max_new_tokens=STEPS, top_k=5)
    shared = BatchedEngine(engine)
    request = check_request("x", STEPS, 5, [(2, 7)], sampling=replace(HOW, seed=9, first=6), past_end=True)
    for other in (shared, engine):
        runs = [Run(each, request) for each in (other, fresh)]
        for run in runs:
            assert len(list(run)) == STEPS
        assert runs[0].trace.generated_token_ids == runs[1].trace.generated_token_ids
        assert [step.draw is None for step in runs[0].trace.steps] == [index < 6 for index in range(STEPS)]
    assert decoding.trace(shared, "x", max_new_tokens=STEPS, top_k=5).steps[0].draw is None
    assert decoding.sample(shared, "x", sampling=HOW, max_new_tokens=STEPS, top_k=5).steps == drawn.steps


@pytest.mark.parametrize("count", [0, 1, 21, 2.5, "3", None])
def test_twenty_draws_are_the_most(count: object) -> None:
    with pytest.raises(RequestError, match="has to be a whole number from 2 to 20"):
        draw_runs(ScriptedEngine(), check_request("x", 2, 2, sampling=Sampling()), count=count)
    with pytest.raises(RequestError, match="20 draws take as many seeds"):
        draw_runs(ScriptedEngine(), check_request("x", 2, 2, sampling=Sampling(seed=2**32 - 10)), count=20)


def test_a_server_cannot_draw() -> None:
    with pytest.raises(RequestError, match="gives only its top candidates"):
        decoding.sample(ScriptedEngine(max_top_k=5), "x", sampling=Sampling(), max_new_tokens=2, top_k=2)


def test_draws_are_counted() -> None:
    found = decoding.draws(ScriptedEngine(), "x", sampling=Sampling(top_k=2), max_new_tokens=1, top_k=3)
    assert sum(count for _, count in found.next_tokens) == sum(count for _, count in found.texts) == 20
    assert {token.text for token, _ in found.next_tokens} <= {" most", " only"}
    said = json.loads(found.to_json())
    assert [each["seed"] for each in said["draws"]] == list(range(20))
    assert Counter(each["text"] for each in said["draws"]) == {each["text"]: each["count"] for each in said["next"]}
    # Greedy's token is there, even if no draw took it.
    rare = decoding.draws(
        ScriptedEngine([{" most": 0.01, " only": 0.005}]),
        "x",
        sampling=Sampling(100.0),
        max_new_tokens=1,
        top_k=3,
        count=2,
    )
    assert rare.next_tokens[-1][0].text == " most"
    assert rare.next_tokens[-1][1] == 0


def test_whoever_leaves_ends_the_draws() -> None:
    engine, left = ScriptedEngine(delay=60), threading.Event()

    def ask() -> None:
        cancellation.bind(left)
        with pytest.raises(cancellation.WorkCancelledError):
            draw_runs(engine, check_request("x", 8, 2, sampling=Sampling()), count=4, at_once=4)
        ended.append(engine.begun)

    ended: list[int] = []
    thread = threading.Thread(target=ask)
    thread.start()
    assert engine.began.wait(30)
    left.set()
    engine.let_go.set()
    thread.join(30)
    assert ended == [1]
