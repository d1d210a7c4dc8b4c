"""The softmax: from the logits of one forward pass to probabilities over the whole vocabulary, and the top k of them.

Owns the softmax; `ranking` says which tokens are the top k. Uses NumPy only; `decoding.engines.torch.softmax` computes
the same where logits are on a GPU, `assets/browser/engine/scores.js` in a browser. Knows no loop and no text.
"""

import math
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decoding.errors import ModelError
from decoding.messages import Message
from decoding.ranking import Logits, rank
from decoding.record.step import LogSums, ScoredToken, StepScores

INVERSE_TEMPERATURES = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0)
"""Values of 1 / T. exp(logit / T) is exp(logit) to this power, so products and square roots of one exponential
suffice.
"""


class _Scratch(threading.local):
    """Buffers for the sums of one step, kept per thread: allocating them at every step would take as long as the
    sums.
    """

    def __init__(self) -> None:
        self._size, self._doubles, self._floats = 0, np.empty((2, 0)), np.empty((3, 0), np.float32)

    def of(self, size: int) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Two rows of float64 and three of float32, of `size` values each."""
        if self._size != size:
            self._size, self._doubles, self._floats = size, np.empty((2, size)), np.empty((3, size), np.float32)
        return self._doubles, self._floats


_scratch = _Scratch()


def read_scores(logits: Logits, top_k: int, picked_id: int | None = None) -> StepScores:
    """The `top_k` most probable tokens of softmax(`logits`), and the entropy of the whole distribution in nats.

    `logits` has the shape (vocabulary,) and the dtype float32. With `picked_id`, its log-probability and rank are
    included. The normalizer is a float64 sum: over 50,000 float32 logits, a float32 softmax is off by up to 1e-5.
    Raises ModelError for logits that are NaN or infinite; minus infinity is a probability of 0. Thread-safe.
    """
    ids = rank(logits, top_k)  # (k,)
    doubles, _ = _scratch.of(len(logits))
    largest = float(logits.max())
    with np.errstate(invalid="ignore", over="ignore", under="ignore"):
        shifted = np.subtract(logits, largest, out=doubles[0], dtype=np.float64)  # (vocabulary,)
        weights = np.exp(shifted, out=doubles[1])  # (vocabulary,)
        total = float(weights.sum())
    if not math.isfinite(total):
        raise ModelError(Message("model.nan"))
    log_total = math.log(total)
    logprobs = shifted[ids] - log_total  # (k,)
    picked = None
    if picked_id is not None:
        picked = ScoredToken(picked_id, float(shifted[picked_id]) - log_total, _rank_of(logits, picked_id))
    if logits.min() == -np.inf:
        np.maximum(shifted, -1e4, out=shifted)  # 0 · −inf would be NaN
    mean = float(np.multiply(shifted, weights, out=shifted).sum()) / total
    return StepScores(
        token_ids=tuple(ids.tolist()),
        logprobs=tuple(logprobs.tolist()),
        entropy=max(log_total - mean, 0.0),
        picked=picked,
        log_sums=log_partitions(weights, log_total, largest),
    )


def read_tokens(logits: Logits, token_ids: Sequence[int]) -> tuple[list[float], list[int]]:
    """The log-probabilities (nats) and the ranks of some ids. See `read_scores`, which gives those of one."""
    largest = float(logits.max())
    with np.errstate(invalid="ignore", over="ignore", under="ignore"):
        total = float(np.exp(np.subtract(logits, largest)).sum(dtype=np.float64))  # each float32, to 1e-6 of itself
    if not math.isfinite(total):
        raise ModelError(Message("model.nan"))
    log_total = math.log(total)
    logprobs = [float(logits[one]) - largest - log_total for one in token_ids]
    return logprobs, [_rank_of(logits, one) for one in token_ids]


def _rank_of(logits: Logits, token_id: int) -> int:
    """The number of tokens before this one: those with a larger logit, and with the same logit and a lower id."""
    logit = logits[token_id]
    return int(np.count_nonzero(logits > logit) + np.count_nonzero(logits[:token_id] == logit))


def log_partitions(weights: NDArray[np.float64], log_total: float, largest: float) -> LogSums:
    """The log-partition (1 / T, log Σ exp(logit / T)) in nats for each of `INVERSE_TEMPERATURES`.

    `weights`, shape (vocabulary,), are exp(logit − largest logit), and `log_total` is the logarithm of their sum.
    Powers are summed in float32, pairwise: six digits of the result are kept.
    """
    _, (first, half, quarter) = _scratch.of(len(weights))
    np.copyto(first, weights, casting="same_kind")  # w¹
    np.sqrt(first, out=half)
    np.sqrt(half, out=quarter)
    sums: list[Any] = [quarter.sum(), half.sum()]
    sums.append(np.multiply(quarter, half, out=quarter).sum())  # w^0.75
    sums.append(math.exp(log_total))
    sums.append(np.multiply(half, first, out=half).sum())  # w^1.5
    with np.errstate(under="ignore"):
        sums.append(np.multiply(first, first, out=first).sum())  # w²
        sums.append(np.multiply(first, first, out=first).sum())  # w⁴
    return tuple(
        (power, math.log(total) + power * largest) for power, total in zip(INVERSE_TEMPERATURES, sums, strict=True)
    )
