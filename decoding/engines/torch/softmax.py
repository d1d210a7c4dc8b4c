"""`decoding.softmax` for logits that lie on a GPU: the same sums by torch, for many rows at once, one move to the host.

Owns the readout of a torch tensor. `scores_of` asks the host for nothing, so a CUDA graph can hold it, and it is few
kernels, because a small model's step takes no longer than they do. On the CPU a tensor's numbers are NumPy's already,
and so they are read by it.
"""

import torch
from torch.nn.functional import pad

from decoding.errors import ModelError
from decoding.record.step import ScoredToken, StepScores
from decoding.softmax import INVERSE_TEMPERATURES, NOT_A_NUMBER
from decoding.softmax import read_scores as read_by_numpy

BLOCK = 512
"""Logits that are ranked by themselves first. A GPU ranks many short rows in two kernels, and one long row of numbers
of 64 bits in more than thirty.
"""
_ID_BITS = 31
_UNKNOWN = torch.iinfo(torch.int64).min


def read_scores(logits: torch.Tensor, top_k: int, picked_id: int | None = None) -> StepScores:
    """See `decoding.softmax.read_scores`."""
    if logits.device.type != "cuda":  # "mps" has no float64
        return read_by_numpy(logits.detach().float().cpu().numpy(), top_k, picked_id)
    return read_on_device(logits, top_k, picked_id)


@torch.inference_mode()
def read_on_device(logits: torch.Tensor, top_k: int, picked_id: int | None = None) -> StepScores:
    """See `decoding.softmax.read_scores`; any device that has float64."""
    logits = logits.float()
    numbers = scores_of(logits[None], top_k)[0]
    if picked_id is None:
        return unpack(numbers.tolist(), top_k)
    mine = logits[picked_id]
    ahead = (logits > mine).sum() + (logits[:picked_id] == mine).sum()
    # One move to the host: everything is packed into one tensor.
    *packed, logit, rank_of_it = torch.cat([numbers, torch.stack([mine.double(), ahead.double()])]).tolist()
    return unpack(packed, top_k, picked=(picked_id, logit, int(rank_of_it)))


def scores_of(logits: torch.Tensor, top_k: int) -> torch.Tensor:
    """What `unpack` reads of each row of float32 logits, shape (rows, vocabulary): the ids of the top, their
    log-probabilities, log Σ exp(logit / T) less the largest logit for each temperature, the largest logit, the entropy;
    shape (rows, 2 k + temperatures + 2), float64.
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
    return torch.cat([ids.double(), logprobs, log_sums(shifted, log_total), largest, log_total - mean], -1)


def unpack(numbers: list[float], top_k: int, picked: tuple[int, float, int] | None = None) -> StepScores:
    """The scores that one row of `scores_of` is, cut to `top_k`; `picked` is an id, its logit and its rank. Raises
    ModelError on logits that are no distribution.
    """
    *numbers, largest, entropy = numbers
    if not entropy == entropy:
        raise ModelError(NOT_A_NUMBER)
    k = (len(numbers) - len(INVERSE_TEMPERATURES)) // 2
    log_sums = dict(zip(INVERSE_TEMPERATURES, numbers[2 * k :], strict=True))
    token = None
    if picked is not None:
        picked_id, logit, rank_of_it = picked
        token = ScoredToken(picked_id, (logit - largest) - log_sums[1.0], rank_of_it)
    return StepScores(
        token_ids=tuple(int(i) for i in numbers[: min(top_k, k)]),
        logprobs=tuple(numbers[k : k + min(top_k, k)]),
        entropy=max(entropy, 0.0),
        picked=token,
        log_sums=tuple((power, log_sum + power * largest) for power, log_sum in log_sums.items()),
    )


def rank(logits: torch.Tensor, top_k: int) -> torch.Tensor:
    """The ids of the `top_k` largest of float32 logits, shape (rows, vocabulary): largest first, lower id first in a
    tie; shape (rows, k).

    `torch.topk` orders ties as it likes, so it is given whole numbers that are all different: a float32's bits, made to
    sort as its value does, above the id.
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


def log_sums(shifted: torch.Tensor, log_total: torch.Tensor) -> torch.Tensor:
    """log Σ exp(p · x) for each p of `INVERSE_TEMPERATURES`, shape (rows, powers), where `shifted` are the logits less
    the largest, shape (rows, vocabulary), and `log_total` is the sum's logarithm at p = 1. Six digits are kept of the
    others.
    """
    first = shifted.float().exp()  # (rows, vocabulary)
    half, square = first.sqrt(), first.square()
    quarter = half.sqrt()
    others = [quarter, half, quarter * half, half * first, square, square.square()]
    sums = torch.stack(others, 1).sum(-1).double().log()  # (rows, powers without 1)
    return torch.cat([sums[:, :3], log_total, sums[:, 3:]], -1)
