"""Picks that argmax did not make: their probability and rank, and the loop that goes on from them."""

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from decoding.errors import ModelError
from decoding.forced import forced_loop, pick, score_rows
from decoding.greedy import greedy_loop, read
from decoding.record.step import Pick

INF = math.inf

# ---- a pick's probability and rank


def check_against_sorting(logits: torch.Tensor) -> None:
    values = logits.double().tolist()
    order = sorted(range(len(values)), key=lambda i: (-values[i], i))
    total = math.fsum(math.exp(v - values[order[0]]) for v in values)
    for rank, token_id in enumerate(order):
        got = pick(logits, token_id)
        assert (got.token_id, got.rank) == (token_id, rank)
        if math.isfinite(values[token_id]):
            assert got.logprob == pytest.approx(values[token_id] - values[order[0]] - math.log(total), abs=1e-10)
        else:
            assert got.logprob == -INF


@given(st.lists(st.sampled_from([-INF, -3.0, -0.0, 0.0, 1.0, 1.5, 80.0]), min_size=1, max_size=12))
def test_ranks_with_ties(logits: list[float]) -> None:
    if any(map(math.isfinite, logits)):
        check_against_sorting(torch.tensor(logits))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_ranks_of_a_vocabulary(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    check_against_sorting((torch.randn(300) * 4).to(dtype).float())


def test_ties_go_to_the_lower_id() -> None:
    logits = torch.tensor([1.0, 2.0, 1.0, -0.0, 0.0])
    assert [pick(logits, token_id).rank for token_id in range(5)] == [1, 0, 2, 3, 4]


def test_a_pick_has_exactly_the_numbers_of_the_readout() -> None:
    torch.manual_seed(0)
    for dtype in (torch.float32, torch.bfloat16):
        logits = (torch.randn(5_000) * 3).to(dtype)
        readout = read(logits, 50)
        for rank in (0, 1, 7, 49):
            token_id = readout.token_ids[rank]
            assert pick(logits, token_id) == Pick(token_id, readout.logprobs[rank], rank)


def test_far_outside_the_candidates() -> None:
    logits = torch.zeros(50_000)
    logits[7], logits[49_999] = 10.0, -20.0
    got = pick(logits, 49_999)
    assert got.rank == 49_999
    assert got.logprob == pytest.approx(-20 - math.log(math.exp(10) + 49_998 + math.exp(-20)), abs=1e-9)


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


def test_without_picks_it_is_the_greedy_loop() -> None:
    plain, other = Model(UP, DOWN, UP), Model(UP, DOWN, UP)
    expected = list(greedy_loop(plain.forward, [7, 8], max_new_tokens=3, top_k=2, end_ids={1}))
    assert list(forced_loop(other.forward, [7, 8], forced={}, max_new_tokens=3, top_k=2, end_ids={1})) == expected
    assert other.asked == plain.asked


def test_a_pick_is_fed_instead_of_argmax() -> None:
    model = Model(UP, DOWN, UP)
    loop = forced_loop(model.forward, [7, 8], forced={0: 0, 2: 1}, max_new_tokens=3, top_k=1)
    readouts = list(loop)
    assert [readout.token_ids for readout in readouts] == [(2,), (0,), (2,)]
    assert [readout.picked and (readout.picked.token_id, readout.picked.rank) for readout in readouts] == [
        (0, 2),
        None,
        (1, 1),
    ]
    assert model.asked == [([7, 8], None), ([0], "cache 1"), ([0], "cache 2")]


def test_a_pick_that_argmax_would_have_made_is_a_pick() -> None:
    (readout,) = forced_loop(Model(UP).forward, [7], forced={0: 2}, max_new_tokens=1, top_k=1)
    assert readout.picked == Pick(2, readout.logprobs[0], 0)


def test_it_goes_on_from_what_a_cache_holds() -> None:
    model = Model(UP, DOWN)
    loop = forced_loop(model.forward, [9], forced={3: 0, 1: 1}, max_new_tokens=5, top_k=1, first=3, cache="held")
    assert [readout.picked is not None for readout in loop] == [True, False]
    assert model.asked == [([9], "held"), ([0], "cache 1")]


@pytest.mark.parametrize(
    ("forced", "steps"), [({}, 1), ({0: 0}, 3), ({0: 0, 1: 2}, 2), ({0: 2}, 1), ({0: 1, 1: 1, 2: 1}, 3)]
)
def test_it_ends_after_an_end_id_whoever_picked_it(forced: dict[int, int], steps: int) -> None:
    loop = forced_loop(Model(UP, DOWN, UP).forward, [7], forced=forced, max_new_tokens=3, top_k=1, end_ids={2})
    assert len(list(loop)) == steps


def test_no_distribution_is_an_error_at_a_forced_step_too() -> None:
    loop = forced_loop(Model([math.nan, 0.0]).forward, [7], forced={0: 1}, max_new_tokens=1, top_k=1)
    with pytest.raises(ModelError):
        next(loop)


def test_it_is_lazy_and_can_be_closed() -> None:
    model = Model(UP, UP)
    loop = forced_loop(model.forward, [7], forced={0: 0}, max_new_tokens=2, top_k=1)
    assert model.asked == []
    next(loop)
    loop.close()  # type: ignore[attr-defined]
    assert len(model.asked) == 1


# ---- many rows of one pass


def test_rows_are_read_like_steps() -> None:
    rows = torch.tensor([UP, DOWN])
    first, second = score_rows(rows, [2, 2], top_k=2)
    assert (first.token_ids, first.logprobs) == (read(rows[0], 2).token_ids, read(rows[0], 2).logprobs)
    assert first.picked == Pick(2, first.logprobs[0], 0)
    assert second.picked == pick(rows[1], 2)
    assert second.picked.rank == 2


def test_as_many_rows_as_ids() -> None:
    with pytest.raises(ValueError, match="shorter"):
        list(score_rows(torch.tensor([UP, DOWN]), [2], top_k=1))
