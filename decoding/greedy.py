"""The classroom loop: greedy decoding in ids and probabilities, nothing else.

Knows no text, no page, no clock and no settings. `forward` reads some ids and returns the logits that follow the last
of them; everything about models and devices is behind it.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import torch

from decoding.errors import ModelError
from decoding.record.trace import Readout
from decoding.temperatures import log_sums, of_logits

Forward = Callable[[Sequence[int], Any], tuple[torch.Tensor, Any]]
"""(ids not read yet, cache or None) → (logits after the last of them, shape (vocabulary,); the cache with them in
it).
"""


@torch.inference_mode()
def greedy_loop(
    forward: Forward,
    token_ids: Sequence[int],
    *,
    max_new_tokens: int,
    top_k: int,
    end_ids: Collection[int] = (),
) -> Iterator[Readout]:
    """Yield what the model says at each step, and go on with its most probable token.

    Ends after `max_new_tokens` steps, or after a step that picks one of `end_ids`. Raises ModelError on logits that are
    no distribution.
    """
    unread, cache = token_ids, None
    for _ in range(max_new_tokens):
        logits, cache = forward(unread, cache)  # (vocabulary,)
        readout = read(logits, top_k)
        yield readout
        picked = readout.token_ids[0]
        if picked in end_ids:
            return
        unread = [picked]


def read(logits: torch.Tensor, top_k: int) -> Readout:
    """The top of softmax(logits), shape (vocabulary,), and its entropy: the whole vocabulary first, then the cut."""
    logits = as_float32(logits)
    ids = rank(logits, top_k)  # (k,)
    shifted, weights, total = normalise(logits)
    mean = torch.dot(weights, shifted.clamp(min=-1e4)) / total  # clamped: 0 · −inf would be NaN
    logprobs = shifted[ids] - total.log()  # (k,)
    # One move to the host a step: everything is packed into one tensor.
    ends = torch.stack([logits[ids[0]].double(), total.log() - mean])
    *numbers, largest, entropy = torch.cat([ids.double(), logprobs, log_sums(weights, total), ends]).tolist()
    if not entropy == entropy:
        raise ModelError("The model's output is not a number (NaN or infinite), so there is no probability to show.")
    k = len(ids)
    sums = of_logits(numbers[2 * k :], largest)
    return Readout(tuple(int(i) for i in numbers[:k]), tuple(numbers[k : 2 * k]), max(entropy, 0.0), log_sums=sums)


def as_float32(logits: torch.Tensor) -> torch.Tensor:
    """Logits where there are whole numbers of 64 bits and float64 to reckon in: "mps" has no float64."""
    return (logits.cpu() if logits.device.type == "mps" else logits).float()


def normalise(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What softmax is made of: x − max and exp(x − max), both of shape (vocabulary,), and the sum of the latter.

    In float64, because over 50,000 logits a float32 softmax is off by up to 1e-5.
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
    keys = bits.long().mul_(2**31).sub_(torch.arange(len(bits), device=bits.device))  # in place: 0.3 ms a step less
    return torch.topk(keys, min(top_k, len(keys))).indices  # (k,)
