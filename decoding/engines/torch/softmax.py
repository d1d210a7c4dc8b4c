"""The softmax for logits on a GPU: `decoding.softmax` in torch, for many rows at once, with one copy to the host.

Owns the scores of a torch tensor. `pack_scores` reads nothing on the host, so a CUDA graph can contain it, and it has
few kernels, because a small model's step takes no longer than they do. On a CPU, NumPy computes the scores. Knows no
loop.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import pad

from decoding.errors import ModelError
from decoding.messages import Message
from decoding.record.step import ScoredToken, StepScores
from decoding.softmax import INVERSE_TEMPERATURES
from decoding.softmax import read_scores as read_by_numpy

BLOCK = 512
"""Logits per block that are ranked first. A GPU ranks many short rows in two kernels, and one long row of 64-bit
numbers in more than thirty.
"""
_ID_BITS = 31
_UNKNOWN = torch.iinfo(torch.int64).min


def read_scores(logits: torch.Tensor, top_k: int, picked_id: int | None = None) -> StepScores:
    """See `decoding.softmax.read_scores`."""
    if logits.device.type != "cuda":  # "mps" has no float64
        return read_by_numpy(to_numpy(logits), top_k, picked_id)
    return read_on_device(logits, top_k, picked_id)


def to_numpy(logits: torch.Tensor) -> NDArray[np.float32]:
    """Logits on the host, in float32."""
    return logits.detach().float().cpu().numpy()


@torch.inference_mode()
def read_on_device(logits: torch.Tensor, top_k: int, picked_id: int | None = None) -> StepScores:
    """See `decoding.softmax.read_scores`; for any device with float64."""
    logits = logits.float()
    numbers = pack_scores(logits[None], top_k)[0]
    if picked_id is None:
        return unpack_scores(numbers.tolist(), top_k)
    mine = logits[picked_id]
    ahead = (logits > mine).sum() + (logits[:picked_id] == mine).sum()
    # Everything is packed into one tensor, for a single copy to the host.
    *packed, logit, rank_of_it = torch.cat([numbers, torch.stack([mine.double(), ahead.double()])]).tolist()
    return unpack_scores(packed, top_k, picked=(picked_id, logit, int(rank_of_it)))


def pack_scores(logits: torch.Tensor, top_k: int) -> torch.Tensor:
    """The packed scores of each row of float32 logits, shape (rows, vocabulary); `unpack_scores` reads them.

    Returns the top ids, their log-probabilities, log Σ exp(logit / T) minus the largest logit for each temperature, the
    largest logit, and the entropy; shape (rows, 2 k + temperatures + 2), float64.
    """
    ids = rank(logits, top_k)  # (rows, k)
    shifted = logits.double()  # (rows, vocabulary)
    largest = shifted.amax(-1, keepdim=True)  # (rows, 1)
    shifted = shifted - largest
    weights = shifted.exp()  # (rows, vocabulary)
    total = weights.sum(-1, keepdim=True)  # (rows, 1)
    log_total = total.log()
    mean = (weights * shifted.clamp(min=-1e4)).sum(-1, keepdim=True) / total  # clamped: 0 · −inf would be NaN
    logprobs = shifted.gather(-1, ids) - log_total  # (rows, k)
    return torch.cat([ids.double(), logprobs, log_partitions(shifted, log_total), largest, log_total - mean], -1)


def unpack_scores(numbers: list[float], top_k: int, picked: tuple[int, float, int] | None = None) -> StepScores:
    """The scores of one row of `pack_scores`, cut to `top_k`; `picked` is an id, its logit and its rank. Raises
    ModelError for logits that are not finite.
    """
    *numbers, largest, entropy = numbers
    if not entropy == entropy:
        raise ModelError(Message("model.nan"))
    k = (len(numbers) - len(INVERSE_TEMPERATURES)) // 2
    log_partitions = dict(zip(INVERSE_TEMPERATURES, numbers[2 * k :], strict=True))
    token = None
    if picked is not None:
        picked_id, logit, rank_of_it = picked
        token = ScoredToken(picked_id, (logit - largest) - log_partitions[1.0], rank_of_it)
    return StepScores(
        token_ids=tuple(int(i) for i in numbers[: min(top_k, k)]),
        logprobs=tuple(numbers[k : k + min(top_k, k)]),
        entropy=max(entropy, 0.0),
        picked=token,
        log_sums=tuple((power, log_sum + power * largest) for power, log_sum in log_partitions.items()),
    )


def rank(logits: torch.Tensor, top_k: int) -> torch.Tensor:
    """The ids of the `top_k` largest logits of each row: largest first, lower id first in a tie.

    `logits` are float32, shape (rows, vocabulary); returns shape (rows, k). `torch.topk` orders ties arbitrarily, so it
    gets distinct integers: a float32's bits, transformed to sort like its value, above the id.
    """
    size = logits.shape[-1]
    top_k = min(top_k, size)
    bits = (logits + 0.0).view(torch.int32)  # + 0.0 makes −0.0 equal to 0.0
    bits = bits ^ (bits >> 31 & 0x7FFFFFFF)  # (rows, vocabulary), ordered as the values are
    keys = bits.long().mul_(2**_ID_BITS).sub_(torch.arange(size, device=bits.device))
    if size > 2 * BLOCK and top_k <= BLOCK:
        blocks = pad(keys, (0, -size % BLOCK), value=_UNKNOWN).reshape(*keys.shape[:-1], -1, BLOCK)
        keys = blocks.topk(top_k, sorted=False).values.flatten(-2)  # (rows, blocks · k), the top among them
    return torch.bitwise_and(-keys.topk(top_k).values, 2**_ID_BITS - 1)  # (rows, k)


def log_partitions(shifted: torch.Tensor, log_total: torch.Tensor) -> torch.Tensor:
    """log Σ exp(p · x) for each p of `INVERSE_TEMPERATURES`, shape (rows, powers).

    `shifted` are the logits minus the largest, shape (rows, vocabulary); `log_total` is the result for p = 1. Six
    digits of the others are kept.
    """
    first = shifted.float().exp()  # (rows, vocabulary)
    half, square = first.sqrt(), first.square()
    quarter = half.sqrt()
    others = [quarter, half, quarter * half, half * first, square, square.square()]
    sums = torch.stack(others, 1).sum(-1).double().log()  # (rows, powers without 1)
    return torch.cat([sums[:, :3], log_total, sums[:, 3:]], -1)
