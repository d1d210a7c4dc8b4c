"""What is drawn from, held against transformers' warpers; and the draw, tried by chi-square tests."""

import math
from collections import Counter
from collections.abc import Sequence
from functools import partial
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

from decoding import Sampling
from decoding.errors import ModelError
from decoding.sampling import distribution, draw, random_number
from tests import tiny_models


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
