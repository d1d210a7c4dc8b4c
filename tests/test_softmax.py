"""The softmax on logits written by hand, and a pick's probability and rank: by NumPy, and by torch as on a GPU."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from decoding.errors import ModelError
from decoding.record.step import ScoredToken
from decoding.softmax import read_scores, read_tokens
from tests.score_readers import INF, READERS

NO_NUMBER = (
    "The model's output is not a number (NaN or infinite), so there is no probability to show. "
    "Its files may be damaged: download them again, or choose another model."
)


def exact(logits: Sequence[float]) -> tuple[Any, Any, float]:
    """Order, probabilities and entropy of float32 logits, in numpy's float64, by a stable sort."""
    values = np.asarray(logits, np.float32).astype(np.float64)
    weights = np.exp(values - values.max())
    probabilities = weights / weights.sum()
    order = np.argsort(-values, kind="stable")
    entropy = -sum(p * math.log(p) for p in probabilities if p > 0)
    return order, probabilities, entropy


def check_against_float64(read: Any, logits: torch.Tensor, top_k: int) -> None:
    order, probabilities, entropy = exact(logits.float().tolist())
    readout = read(logits, top_k)
    assert readout.token_ids == tuple(order[:top_k])
    for token_id, logprob in zip(readout.token_ids, readout.logprobs, strict=True):
        assert math.exp(logprob) == pytest.approx(probabilities[token_id], rel=1e-12, abs=1e-300)
    assert readout.entropy == pytest.approx(entropy, rel=1e-9, abs=1e-9)


@READERS
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("spread", [0.01, 1.0, 8.0])
def test_softmax_over_a_real_vocabulary(read: Any, dtype: torch.dtype, spread: float) -> None:
    torch.manual_seed(0)
    check_against_float64(read, (torch.randn(50_257) * spread).to(dtype), 50)


@READERS
@given(logits=st.lists(st.floats(-80, 80, width=32), min_size=1, max_size=40), top_k=st.integers(1, 50))
def test_softmax_of_anything(read: Any, logits: list[float], top_k: int) -> None:
    check_against_float64(read, torch.tensor(logits), top_k)


@READERS
def test_all_of_it_sums_to_one(read: Any) -> None:
    torch.manual_seed(0)
    readout = read(torch.randn(5_000) * 5, 5_000)
    assert math.fsum(map(math.exp, readout.logprobs)) == pytest.approx(1, abs=1e-12)
    assert len(readout.token_ids) == len(set(readout.token_ids)) == 5_000


@READERS
def test_the_cut_does_not_change_the_numbers(read: Any) -> None:
    torch.manual_seed(0)
    logits = torch.randn(1_000)
    whole = read(logits, 1_000)
    for top_k in (1, 2, 5, 50):
        cut = read(logits, top_k)
        assert cut.logprobs == whole.logprobs[:top_k]
        assert (cut.token_ids, cut.entropy) == (whole.token_ids[:top_k], whole.entropy)


@READERS
def test_half_precision_ties_go_to_the_lower_id(read: Any) -> None:
    # 1.001 and 1.0 are one number in bfloat16.
    logits = torch.tensor([0.0, 1.0, 1.001]).to(torch.bfloat16)
    readout = read(logits, 2)
    assert readout.token_ids == (1, 2)
    assert readout.logprobs[0] == readout.logprobs[1]


@READERS
def test_the_logits_are_left_as_they_were(read: Any) -> None:
    logits = torch.tensor([1.0, -0.0, 2.0])
    read(logits, 2)
    assert logits.tolist() == [1.0, 0.0, 2.0]
    assert math.copysign(1, logits[1].item()) == -1


@READERS
def test_entropy_at_both_ends(read: Any) -> None:
    assert read(torch.zeros(1024), 1).entropy == pytest.approx(math.log(1024), rel=1e-12)
    certain = read(torch.tensor([-INF, 3.0, -INF]), 3)
    assert certain.entropy == 0.0
    assert certain.logprobs == (0.0, -INF, -INF)


@READERS
@pytest.mark.parametrize(
    "logits",
    [[1.0, math.nan], [math.nan, 1.0], [math.nan, math.nan], [1.0, INF], [INF, INF], [INF, -INF], [-INF, -INF], [-INF]],
    ids=str,
)
def test_logits_that_are_not_finite_are_refused(read: Any, logits: list[float]) -> None:
    for dtype in (torch.float32, torch.bfloat16):
        with pytest.raises(ModelError) as refused:
            read(torch.tensor(logits, dtype=dtype), 1)
        assert str(refused.value) == NO_NUMBER


def check_against_sorting(read: Any, logits: torch.Tensor) -> None:
    values = logits.double().tolist()
    order = sorted(range(len(values)), key=lambda i: (-values[i], i))
    total = math.fsum(math.exp(v - values[order[0]]) for v in values)
    for place, token_id in enumerate(order):
        got = read(logits, 1, token_id).picked
        assert (got.token_id, got.rank) == (token_id, place)
        if math.isfinite(values[token_id]):
            assert got.logprob == pytest.approx(values[token_id] - values[order[0]] - math.log(total), abs=1e-10)
        else:
            assert got.logprob == -INF


@READERS
@given(logits=st.lists(st.sampled_from([-INF, -3.0, -0.0, 0.0, 1.0, 1.5, 80.0]), min_size=1, max_size=12))
def test_ranks_with_ties(read: Any, logits: list[float]) -> None:
    if any(map(math.isfinite, logits)):
        check_against_sorting(read, torch.tensor(logits))


@READERS
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_ranks_of_a_vocabulary(read: Any, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    check_against_sorting(read, (torch.randn(300) * 4).to(dtype).float())


@READERS
def test_ties_go_to_the_lower_id(read: Any) -> None:
    logits = torch.tensor([1.0, 2.0, 1.0, -0.0, 0.0])
    assert [read(logits, 1, token_id).picked.rank for token_id in range(5)] == [1, 0, 2, 3, 4]


@READERS
def test_a_pick_has_exactly_the_numbers_of_the_readout(read: Any) -> None:
    torch.manual_seed(0)
    for dtype in (torch.float32, torch.bfloat16):
        logits = (torch.randn(5_000) * 3).to(dtype)
        readout = read(logits, 50)
        for place in (0, 1, 7, 49):
            token_id = readout.token_ids[place]
            assert read(logits, 1, token_id).picked == ScoredToken(token_id, readout.logprobs[place], place)


@READERS
def test_far_outside_the_candidates(read: Any) -> None:
    logits = torch.zeros(50_000)
    logits[7], logits[49_999] = 10.0, -20.0
    got = read(logits, 1, 49_999).picked
    assert got.rank == 49_999
    assert got.logprob == pytest.approx(-20 - math.log(math.exp(10) + 49_998 + math.exp(-20)), abs=1e-9)


def test_several_tokens_have_the_ranks_and_probabilities_that_one_has() -> None:
    logits = np.array([2, 3, 2, -1, 3, 2], np.float32)  # ties before and after: the lower id comes first
    logprobs, ranks = read_tokens(logits, range(6))
    alone = [read_scores(logits, 1, token_id).picked for token_id in range(6)]
    assert ranks == [one.rank for one in alone if one] == [2, 0, 3, 5, 1, 4]
    assert logprobs == pytest.approx([one.logprob for one in alone if one], abs=1e-6)
