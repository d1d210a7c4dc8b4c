"""Sampling: transformers' warpers say what is drawn from, chi-square tests try the draw, and a seed is one text."""

import json
import math
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import GenerationConfig
from transformers.generation.logits_process import (
    SuppressTokensLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

import decoding
from decoding import Sampling, cancellation
from decoding.engines.batching.engine import BatchedEngine
from decoding.engines.local_engine import LocalEngine
from decoding.engines.zero_gpu import ZeroGpuEngine
from decoding.errors import FormatError, ModelError, RequestError
from decoding.questions.sampled_runs import draw_runs
from decoding.questions.verify import recompute
from decoding.record.trace import Trace
from decoding.requests.run_request import check_request
from decoding.run import Run
from decoding.sampling import distribution, draw, random_number
from tests import tiny_models
from tests.fakes import END, ScriptedEngine

# ---- what is drawn from


def warpers(sampling: Sampling, passed_ids: Sequence[int] = ()) -> list[Any]:
    """The list that `generate(do_sample=True)` makes, in its own order."""
    settings = GenerationConfig(
        do_sample=True,
        temperature=float(sampling.temperature),
        top_k=sampling.top_k,
        top_p=sampling.top_p,
        suppress_tokens=list(passed_ids) or None,
    )
    network = tiny_models.network("gpt2", n_layer=1)
    return list(network._get_logits_processor(settings, input_ids_seq_length=1, device="cpu"))


def theirs(logits: NDArray[np.float32], processors: Sequence[Any]) -> NDArray[np.float64]:
    scores = torch.tensor(logits)[None]
    for processor in processors:
        scores = processor(torch.zeros((1, 1), dtype=torch.long), scores)
    return scores[0].double().softmax(-1).numpy()


def logits_of(kind: str) -> NDArray[np.float32]:
    generator = np.random.default_rng(5)
    logits = {
        "a model's": generator.normal(0, 3, 2_000),
        "ties everywhere": generator.integers(-3, 3, 500),
        "all the same": np.zeros(64),
        "one certain": np.array([50.0, 0, 0, 0, 0]),
        "halves": np.log([0.125, 0.5, 0.25, 0.0625, 0.0625]),
        "some impossible": np.where(generator.random(300) < 0.5, -np.inf, generator.normal(0, 2, 300)),
        "four alike": np.array([0, 0, 0, 0, -9]),
        "one token": np.array([1.5]),
        "far from zero": generator.normal(1_000, 20, 400),
    }[kind]
    return logits.astype(np.float32)


KINDS = ["a model's", "ties everywhere", "all the same", "one certain", "halves", "some impossible", "one token"]
KINDS += ["four alike", "far from zero"]
SETTINGS = [
    Sampling(),
    Sampling(temperature=0.01),
    Sampling(temperature=0.7),
    Sampling(temperature=100),
    Sampling(top_k=1),
    Sampling(top_k=3),
    Sampling(top_k=10**6),
    Sampling(top_p=0),
    Sampling(top_p=0.5),
    Sampling(top_p=0.9),
    Sampling(top_p=0.999999),
    Sampling(temperature=1.3, top_k=40, top_p=0.8),
    Sampling(temperature=0.3, top_k=5, top_p=0.95),
]


@pytest.mark.parametrize("sampling", SETTINGS, ids=str)
def test_equals_transformers_warpers(sampling: Sampling, monkeypatch: pytest.MonkeyPatch) -> None:
    processors = warpers(sampling)
    ours = {kind: distribution(logits_of(kind), sampling) for kind in KINDS}
    # Which of two equally probable tokens top-p cuts is left to torch.sort, which decides by the CPU's instructions
    # where there are more than 16. However it decides, as many are cut.
    for kind, shares in ours.items():
        assert np.sort(shares) == pytest.approx(np.sort(theirs(logits_of(kind), processors)), abs=1e-6), kind
        assert shares.sum() == pytest.approx(1, abs=1e-12)
    monkeypatch.setattr(torch, "sort", partial(torch.sort, stable=True))
    for kind, shares in ours.items():
        expected = theirs(logits_of(kind), processors)
        assert np.flatnonzero((shares > 0) != (expected > 0)).tolist() == [], kind
        assert shares == pytest.approx(expected, abs=1e-6), kind


def test_the_order_is_transformers_own() -> None:
    kinds = [type(each) for each in warpers(Sampling(0.5, 3, 0.5), passed_ids=[1])]
    assert kinds == [SuppressTokensLogitsProcessor, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper]


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(0.8, 2, 0.7)], ids=str)
def test_the_end_is_suppressed_before_anything_is_cut(sampling: Sampling) -> None:
    logits = logits_of("halves")
    ours = distribution(logits, sampling, passed_ids={1})
    assert ours == pytest.approx(theirs(logits, warpers(sampling, passed_ids=[1])), abs=1e-6)
    assert ours[1] == 0


@pytest.mark.parametrize("wrong", [[math.nan, 0], [math.inf, 0], [-math.inf, -math.inf]], ids=str)
def test_logits_that_are_no_numbers_are_refused(wrong: list[float]) -> None:
    with pytest.raises(ModelError, match="not a number"):
        distribution(np.array(wrong, np.float32), Sampling(0.5, 1, 0.5))


# ---- the draw

SHARES = {2: 0.4, 5: 0.3, 7: 0.15, 11: 0.1, 13: 0.05}
CRITICAL = 18.467
"""Chi-square with four degrees of freedom exceeds this once in 1,000."""


def chi_square(counts: Counter[int], shares: dict[int, float], draws: int) -> float:
    assert counts.keys() <= shares.keys()
    return math.fsum((counts[n] - draws * share) ** 2 / (draws * share) for n, share in shares.items())


def test_10000_draws_pass_a_chi_square_test() -> None:
    logits = np.full(20, -np.inf, np.float32)
    for token_id, share in SHARES.items():
        logits[token_id] = math.log(share)
    shares = distribution(logits, Sampling())
    counts = Counter(draw(shares, random_number(2_026, step)) for step in range(10_000))
    assert chi_square(counts, SHARES, 10_000) < CRITICAL
    # One draw of each of 10,000 seeds, as "twenty draws" take them.
    counts = Counter(draw(shares, random_number(seed, 3)) for seed in range(10_000))
    assert chi_square(counts, SHARES, 10_000) < CRITICAL
    # A draw that is off by three hundredths fails.
    others = {2: 0.37, 5: 0.33, 7: 0.15, 11: 0.1, 13: 0.05}
    assert chi_square(counts, others, 10_000) > CRITICAL
    # After the filters, only what they kept is drawn, as often as they say.
    cut = distribution(logits, Sampling(temperature=2, top_k=3))
    kept = {n: float(cut[n]) for n in (2, 5, 7)}
    counts = Counter(draw(cut, random_number(1, step)) for step in range(10_000))
    assert chi_square(counts, kept, 10_000) < CRITICAL


def test_the_borders_of_a_draw() -> None:
    shares = np.array([0, 0.5, 0, 0.5, 0])
    numbers = [0.0, np.nextafter(0.5, 0), 0.5, np.nextafter(1, 0)]
    assert [draw(shares, float(number)) for number in numbers] == [1, 1, 3, 3]
    thirds = np.full(3, 1 / 3)
    assert draw(thirds, float(np.nextafter(1, 0))) == 2


def test_the_numbers_are_one_generators() -> None:
    stream = np.random.Generator(np.random.PCG64(17)).random(50).tolist()
    assert [random_number(17, step) for step in range(50)] == stream


# ---- runs

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


@pytest.mark.parametrize(
    ("sampling", "said"),
    [
        ({"temperature": 0}, "The temperature has to be a number from 0.01 to 100, not 0."),
        ({"temperature": math.nan}, "The temperature has to be a number from 0.01 to 100, not one that is not finite."),
        ({"temperature": "1"}, "The temperature has to be a number from 0.01 to 100, not “1”."),
        ({"top_k": 1.5}, "The top-k has to be a whole number from 0 to 16777216, not 1.5."),
        ({"top_p": 2}, "The top-p has to be a number from 0 to 1, not 2."),
        ({"seed": 2**32}, "The seed has to be a whole number from 0 to 4294967295, not 4294967296."),
        ({"first": 4}, "The first step to draw has to be a whole number from 0 to 3, not 4."),
        ({"beams": 4}, "How to draw has no “beams”; it has temperature, top_k, top_p, seed, first."),
        ([], "How to draw has to be an object, not a list."),
    ],
)
def test_a_draw_outside_its_limits_is_refused(sampling: object, said: str) -> None:
    with pytest.raises(RequestError) as caught:
        check_request("x", 4, 3, sampling=sampling)
    assert (str(caught.value), caught.value.field) == (said, "sampling")


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
