"""The classroom loop and its arithmetic, on logits written by hand."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from decoding.errors import ModelError
from decoding.greedy import greedy_loop, rank, read

INF = math.inf
NO_NUMBER = "The model's output is not a number (NaN or infinite), so there is no probability to show."


def exact(logits: Sequence[float]) -> tuple[Any, Any, float]:
    """Order, probabilities and entropy of float32 logits, in numpy's float64, by a stable sort."""
    values = np.asarray(logits, np.float32).astype(np.float64)
    weights = np.exp(values - values.max())
    probabilities = weights / weights.sum()
    order = np.argsort(-values, kind="stable")
    entropy = -sum(p * math.log(p) for p in probabilities if p > 0)
    return order, probabilities, entropy


# ---- the order


@pytest.mark.parametrize(
    ("logits", "top_k", "ids"),
    [
        ([1.0, 3.0, 2.0, 3.0], 4, [1, 3, 2, 0]),
        ([5.0, 5.0, 5.0, 5.0], 4, [0, 1, 2, 3]),
        ([0.0, 2.0, 2.0, 2.0, 3.0], 2, [4, 1]),  # a tie at the cut
        ([0.0, 1.0, 1.0, 1.0, 1.0], 3, [1, 2, 3]),
        ([-0.0, 0.0], 2, [0, 1]),
        ([0.0, -0.0], 2, [0, 1]),
        ([-1.0, -0.0, 0.0, -0.0], 4, [1, 2, 3, 0]),
        ([-3.0, -1.0, -2.0], 3, [1, 2, 0]),
        ([1e-45, 0.0, -1e-45], 3, [0, 1, 2]),  # the smallest that float32 has
        ([-INF, 1.0, -INF, -3e38], 4, [1, 3, 0, 2]),
        ([3.4e38, -3.4e38, 0.0], 3, [0, 2, 1]),
        ([7.0], 1, [0]),
        ([1.0, 2.0], 50, [1, 0]),
    ],
)
def test_order(logits: list[float], top_k: int, ids: list[int]) -> None:
    assert rank(torch.tensor(logits), top_k).tolist() == ids
    assert read(torch.tensor(logits), top_k).token_ids == tuple(ids)


def test_the_first_is_argmax_among_many_ties() -> None:
    torch.manual_seed(0)
    for _ in range(10):
        logits = torch.randint(0, 5, (50_000,)).float()
        assert rank(logits, 5).tolist() == np.argsort(-logits.numpy(), kind="stable")[:5].tolist()
        assert int(rank(logits, 1)) == int(logits.argmax())


@given(
    st.lists(
        st.one_of(st.floats(width=32, allow_nan=False, allow_infinity=False), st.sampled_from([0.0, -0.0, 1.0, -INF])),
        min_size=1,
    ),
    st.integers(1, 60),
)
def test_order_is_a_stable_sorts(logits: list[float], top_k: int) -> None:
    expected = sorted(range(len(logits)), key=lambda token_id: (-logits[token_id], token_id))
    assert rank(torch.tensor(logits), top_k).tolist() == expected[:top_k]


# ---- the numbers


def check_against_float64(logits: torch.Tensor, top_k: int) -> None:
    order, probabilities, entropy = exact(logits.float().tolist())
    readout = read(logits, top_k)
    assert readout.token_ids == tuple(order[:top_k])
    for token_id, logprob in zip(readout.token_ids, readout.logprobs, strict=True):
        assert math.exp(logprob) == pytest.approx(probabilities[token_id], rel=1e-12, abs=1e-300)
    assert readout.entropy == pytest.approx(entropy, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("spread", [0.01, 1.0, 8.0])
def test_softmax_over_a_real_vocabulary(dtype: torch.dtype, spread: float) -> None:
    torch.manual_seed(0)
    check_against_float64((torch.randn(50_257) * spread).to(dtype), 50)


@given(st.lists(st.floats(-80, 80, width=32), min_size=1, max_size=40), st.integers(1, 50))
def test_softmax_of_anything(logits: list[float], top_k: int) -> None:
    check_against_float64(torch.tensor(logits), top_k)


def test_all_of_it_sums_to_one() -> None:
    torch.manual_seed(0)
    readout = read(torch.randn(5_000) * 5, 5_000)
    assert math.fsum(map(math.exp, readout.logprobs)) == pytest.approx(1, abs=1e-12)
    assert len(readout.token_ids) == len(set(readout.token_ids)) == 5_000


def test_the_cut_does_not_change_the_numbers() -> None:
    torch.manual_seed(0)
    logits = torch.randn(1_000)
    whole = read(logits, 1_000)
    for top_k in (1, 2, 5, 50):
        cut = read(logits, top_k)
        assert cut.logprobs == whole.logprobs[:top_k]
        assert (cut.token_ids, cut.entropy) == (whole.token_ids[:top_k], whole.entropy)


def test_half_precision_ties_go_to_the_lower_id() -> None:
    # 1.001 and 1.0 are one number in bfloat16.
    logits = torch.tensor([0.0, 1.0, 1.001]).to(torch.bfloat16)
    readout = read(logits, 2)
    assert readout.token_ids == (1, 2)
    assert readout.logprobs[0] == readout.logprobs[1]


def test_the_logits_are_left_as_they_were() -> None:
    logits = torch.tensor([1.0, -0.0, 2.0])
    read(logits, 2)
    assert logits.tolist() == [1.0, 0.0, 2.0]
    assert math.copysign(1, logits[1].item()) == -1


def test_entropy_at_both_ends() -> None:
    assert read(torch.zeros(1024), 1).entropy == pytest.approx(math.log(1024), rel=1e-12)
    certain = read(torch.tensor([-INF, 3.0, -INF]), 3)
    assert certain.entropy == 0.0
    assert certain.logprobs == (0.0, -INF, -INF)


@pytest.mark.parametrize(
    "logits",
    [[1.0, math.nan], [math.nan, 1.0], [math.nan, math.nan], [1.0, INF], [INF, INF], [INF, -INF], [-INF, -INF], [-INF]],
    ids=str,
)
def test_what_is_no_distribution_is_refused(logits: list[float]) -> None:
    for dtype in (torch.float32, torch.bfloat16):
        with pytest.raises(ModelError) as refused:
            read(torch.tensor(logits, dtype=dtype), 1)
        assert str(refused.value) == NO_NUMBER


# ---- the loop


class Model:
    """Answers with the next of its lines, and remembers what it was asked."""

    def __init__(self, *lines: Sequence[float]) -> None:
        self.lines = [torch.tensor(line) for line in lines]
        self.asked: list[tuple[list[int], Any]] = []

    def forward(self, unread: Sequence[int], cache: Any) -> tuple[torch.Tensor, Any]:
        self.asked.append((list(unread), cache))
        return self.lines[len(self.asked) - 1], f"cache {len(self.asked)}"


UP, DOWN = [0.0, 1.0, 2.0], [2.0, 1.0, 0.0]


def test_one_pass_a_step_with_only_what_is_unread() -> None:
    model = Model(UP, DOWN, UP)
    readouts = list(greedy_loop(model.forward, [7, 8, 9], max_new_tokens=3, top_k=1))
    assert [readout.token_ids for readout in readouts] == [(2,), (0,), (2,)]
    assert model.asked == [([7, 8, 9], None), ([2], "cache 1"), ([0], "cache 2")]


def test_the_loop_is_lazy_and_can_be_closed() -> None:
    model = Model(UP, UP, UP)
    loop = greedy_loop(model.forward, [1], max_new_tokens=3, top_k=1)
    assert model.asked == []
    next(loop)
    assert len(model.asked) == 1
    loop.close()
    assert list(loop) == []
    assert len(model.asked) == 1


def test_zero_steps_yield_nothing() -> None:
    model = Model()
    assert list(greedy_loop(model.forward, [1], max_new_tokens=0, top_k=1)) == []
    assert model.asked == []


@pytest.mark.parametrize(
    ("end_ids", "steps"), [((), 3), ({0}, 2), ({2}, 1), ({0, 2}, 1), ({1}, 3), (frozenset({5}), 3)]
)
def test_it_ends_after_an_end_id(end_ids: Any, steps: int) -> None:
    model = Model(UP, DOWN, UP)
    assert len(list(greedy_loop(model.forward, [1], max_new_tokens=3, top_k=3, end_ids=end_ids))) == steps


def test_an_error_comes_at_its_step() -> None:
    loop = greedy_loop(Model(UP, [math.nan, 0.0, 0.0]).forward, [1], max_new_tokens=3, top_k=1)
    assert next(loop).token_ids == (2,)
    with pytest.raises(ModelError):
        next(loop)


def test_no_gradients_are_kept() -> None:
    weight = torch.tensor([1.0, 2.0], requires_grad=True)
    modes = []

    def forward(_unread: Sequence[int], _cache: Any) -> tuple[torch.Tensor, None]:
        modes.append(torch.is_inference_mode_enabled())
        return weight * 2, None

    for _ in greedy_loop(forward, [1], max_new_tokens=2, top_k=1):
        assert not torch.is_inference_mode_enabled()  # the caller's own work is left alone
    assert modes == [True, True]
