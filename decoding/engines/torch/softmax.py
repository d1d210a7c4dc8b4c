"""`decoding.softmax` for logits that lie on a GPU: the same sums by torch, and one move to the host a step.

Owns the readout of a torch tensor. On the CPU a tensor's numbers are NumPy's already, and so they are read by it.
"""

import torch

from decoding.errors import ModelError
from decoding.record.step import ScoredToken, StepScores
from decoding.softmax import INVERSE_TEMPERATURES, NOT_A_NUMBER
from decoding.softmax import read_scores as read_by_numpy


def read_scores(logits: torch.Tensor, top_k: int, picked_id: int | None = None) -> StepScores:
    """See `decoding.softmax.read_scores`."""
    if logits.device.type != "cuda":  # "mps" has no float64
        return read_by_numpy(logits.detach().float().cpu().numpy(), top_k, picked_id)
    return read_on_device(logits, top_k, picked_id)


def read_on_device(logits: torch.Tensor, top_k: int, picked_id: int | None = None) -> StepScores:
    """See `decoding.softmax.read_scores`; any device that has float64."""
    logits = as_float32(logits)
    ids = rank(logits, top_k)  # (k,)
    shifted, weights, total = normalise(logits)
    mean = torch.dot(weights, shifted.clamp(min=-1e4)) / total  # clamped: 0 · −inf would be NaN
    logprobs = shifted[ids] - total.log()  # (k,)
    ends = torch.stack([logits[ids[0]].double(), total.log() - mean])
    of_picked = torch.empty(0, dtype=torch.float64, device=logits.device)
    if picked_id is not None:
        mine = logits[picked_id]
        ahead = (logits > mine).sum() + (logits[:picked_id] == mine).sum()
        of_picked = torch.stack([shifted[picked_id] - total.log(), ahead.double()])
    # One move to the host a step: everything is packed into one tensor.
    packed = torch.cat([of_picked, ids.double(), logprobs, log_sums(weights, total), ends]).tolist()
    picked = None
    if picked_id is not None:
        logprob, rank_of_it, *packed = packed
        picked = ScoredToken(picked_id, logprob, int(rank_of_it))
    *numbers, largest, entropy = packed
    if not entropy == entropy:
        raise ModelError(NOT_A_NUMBER)
    k = len(ids)
    sums = of_logits(numbers[2 * k :], largest)
    return StepScores(
        tuple(int(i) for i in numbers[:k]), tuple(numbers[k : 2 * k]), max(entropy, 0.0), picked, log_sums=sums
    )


def as_float32(logits: torch.Tensor) -> torch.Tensor:
    """Logits where there are whole numbers of 64 bits and float64 to reckon in: "mps" has no float64."""
    return (logits.cpu() if logits.device.type == "mps" else logits).float()


def normalise(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What softmax is made of: x − max and exp(x − max), both of shape (vocabulary,), and the sum of the latter, in
    float64.
    """
    shifted = logits.double()  # (vocabulary,)
    shifted -= shifted.max()
    weights = shifted.exp()  # (vocabulary,)
    return shifted, weights, weights.sum()


def rank(logits: torch.Tensor, top_k: int) -> torch.Tensor:
    """The ids of the `top_k` largest of float32 logits, shape (vocabulary,): largest first, lower id first in a tie.

    `torch.topk` orders ties as it likes, so it is given whole numbers that are all different: a float32's bits, made to
    sort as its value does, above the id.
    """
    bits = (logits + 0.0).view(torch.int32)  # + 0.0 makes −0.0 equal to 0.0
    bits = bits ^ (bits >> 31 & 0x7FFFFFFF)  # (vocabulary,), ordered as the values are
    keys = bits.long().mul_(2**31).sub_(torch.arange(len(bits), device=bits.device))
    return torch.topk(keys, min(top_k, len(keys))).indices  # (k,)


def log_sums(weights: torch.Tensor, total: torch.Tensor) -> torch.Tensor:
    """log Σ weights^p for each p of `INVERSE_TEMPERATURES`, shape (powers,).

    `weights`, shape (vocabulary,), are exp(logit − largest logit), and `total` is their sum.
    """
    weights = weights.float()  # float32 is enough: none is above 1, and the largest is 1
    root, square = weights.sqrt(), weights.square()
    fourth = root.sqrt()
    sums = [fourth.sum(), root.sum(), fourth @ root, total, root @ weights, weights @ weights, square @ square]
    return torch.stack([x.double() for x in sums]).log()


def of_logits(log_sums: list[float], largest: float) -> tuple[tuple[float, float], ...]:
    """(1 / T, log Σ exp(logit / T)) in nats, from what `log_sums` says of logits less the largest."""
    pairs = zip(INVERSE_TEMPERATURES, log_sums, strict=True)
    return tuple((power, log_sum + power * largest) for power, log_sum in pairs)
