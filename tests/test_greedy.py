"""The classroom loop, on logits written by hand: what it reads, where it ends, and picks that argmax did not make."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from decoding.errors import ModelError
from decoding.greedy import greedy_loop, score_rows
from decoding.record.step import ScoredToken
from decoding.softmax import read_scores


class Model:
    """Answers with the next of its lines, and remembers what it was asked."""

    def __init__(self, *lines: Sequence[float]) -> None:
        self.lines = [np.array(line, np.float32) for line in lines]
        self.asked: list[tuple[list[int], Any]] = []

    def forward(self, unread: Sequence[int], cache: Any) -> tuple[NDArray[np.float32], Any]:
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


# ---- picks of a person


def test_a_pick_is_fed_instead_of_argmax() -> None:
    model = Model(UP, DOWN, UP)
    loop = greedy_loop(model.forward, [7, 8], forced={0: 0, 2: 1}, max_new_tokens=3, top_k=1)
    readouts = list(loop)
    assert [readout.token_ids for readout in readouts] == [(2,), (0,), (2,)]
    assert [readout.picked and (readout.picked.token_id, readout.picked.rank) for readout in readouts] == [
        (0, 2),
        None,
        (1, 1),
    ]
    assert model.asked == [([7, 8], None), ([0], "cache 1"), ([0], "cache 2")]


def test_a_pick_that_argmax_would_have_made_is_a_pick() -> None:
    (readout,) = greedy_loop(Model(UP).forward, [7], forced={0: 2}, max_new_tokens=1, top_k=1)
    assert readout.picked == ScoredToken(2, readout.logprobs[0], 0)


def test_the_loop_continues_from_a_cache() -> None:
    model = Model(UP, DOWN)
    loop = greedy_loop(model.forward, [9], forced={3: 0, 1: 1}, max_new_tokens=5, top_k=1, first=3, cache="held")
    assert [readout.picked is not None for readout in loop] == [True, False]
    assert model.asked == [([9], "held"), ([0], "cache 1")]


@pytest.mark.parametrize(
    ("forced", "steps"), [({}, 1), ({0: 0}, 3), ({0: 0, 1: 2}, 2), ({0: 2}, 1), ({0: 1, 1: 1, 2: 1}, 3)]
)
def test_the_loop_ends_after_an_end_id_forced_or_not(forced: dict[int, int], steps: int) -> None:
    loop = greedy_loop(Model(UP, DOWN, UP).forward, [7], forced=forced, max_new_tokens=3, top_k=1, end_ids={2})
    assert len(list(loop)) == steps


def test_no_distribution_is_an_error_at_a_forced_step_too() -> None:
    loop = greedy_loop(Model([math.nan, 0.0]).forward, [7], forced={0: 1}, max_new_tokens=1, top_k=1)
    with pytest.raises(ModelError):
        next(loop)


# ---- many rows of one pass


def test_rows_are_read_like_steps() -> None:
    rows = [np.float32(UP), np.float32(DOWN)]
    first, second = score_rows(rows, [2, 2], top_k=2)
    assert (first.token_ids, first.logprobs) == (read_scores(rows[0], 2).token_ids, read_scores(rows[0], 2).logprobs)
    assert first.picked == ScoredToken(2, first.logprobs[0], 0)
    assert second.picked == read_scores(rows[1], 1, 2).picked
    assert second.picked.rank == 2


def test_as_many_rows_as_ids() -> None:
    with pytest.raises(ValueError, match="shorter"):
        list(score_rows([np.float32(UP), np.float32(DOWN)], [2], top_k=1))
