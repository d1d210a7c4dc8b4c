"""The order of candidates: the most probable first, of equals the lower id."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from decoding.engines.torch import softmax as on_device
from decoding.ranking import rank
from tests.score_readers import INF, READERS

RANKS: dict[str, Callable[[torch.Tensor, int], list[int]]] = {
    "numpy": lambda logits, top_k: rank(logits.float().numpy(), top_k).tolist(),
    "torch": lambda logits, top_k: on_device.rank(logits, top_k).tolist(),
}
RANKERS = pytest.mark.parametrize("order", RANKS.values(), ids=RANKS)


@READERS
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
def test_order(read: Any, logits: list[float], top_k: int, ids: list[int]) -> None:
    assert read(torch.tensor(logits), top_k).token_ids == tuple(ids)


@RANKERS
@pytest.mark.parametrize("top_k", [1, 5, 50, 200])
def test_the_first_is_argmax_among_many_ties(order: Any, top_k: int) -> None:
    torch.manual_seed(0)
    for _ in range(10):
        logits = torch.randint(0, 5, (50_000,)).float()
        assert order(logits, top_k) == np.argsort(-logits.numpy(), kind="stable")[:top_k].tolist()
        assert order(logits, top_k)[0] == int(logits.argmax())


@RANKERS
@given(
    logits=st.lists(
        st.one_of(st.floats(width=32, allow_nan=False, allow_infinity=False), st.sampled_from([0.0, -0.0, 1.0, -INF])),
        min_size=1,
    ),
    top_k=st.integers(1, 60),
)
def test_order_is_a_stable_sorts(order: Any, logits: list[float], top_k: int) -> None:
    expected = sorted(range(len(logits)), key=lambda token_id: (-logits[token_id], token_id))
    assert order(torch.tensor(logits), top_k) == expected[:top_k]
    repeated = logits * (600 // len(logits) + 1)  # long enough for blocks
    expected = sorted(range(len(repeated)), key=lambda token_id: (-repeated[token_id], token_id))
    assert order(torch.tensor(repeated), top_k) == expected[:top_k]
