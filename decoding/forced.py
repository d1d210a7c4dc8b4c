"""The classroom loop with picks that argmax did not make, and the same readouts for a text that is already there.

Owns a pick's probability and rank. Knows ids and logits; what is kept between two runs is
`decoding.engines.prefix_cache`'s.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from decoding.greedy import Forward, as_float32, normalise, read
from decoding.record.step import Pick, Readout


@torch.inference_mode()
def forced_loop(
    forward: Forward,
    unread: Sequence[int],
    *,
    forced: Mapping[int, int],
    max_new_tokens: int,
    top_k: int,
    end_ids: Collection[int] = (),
    first: int = 0,
    cache: Any = None,
) -> Iterator[Readout]:
    """Decode greedily, but at the steps of `forced` pick its ids; see `decoding.greedy.greedy_loop`.

    Goes on at step `first` with what is `unread` after what `cache` holds. The readouts of forced steps have `picked`.
    """
    for index in range(first, max_new_tokens):
        logits, cache = forward(unread, cache)  # (vocabulary,)
        readout = read(logits, top_k)
        if index in forced:
            readout = replace(readout, picked=pick(logits, forced[index]))
        yield readout
        picked = forced.get(index, readout.token_ids[0])
        if picked in end_ids:
            return
        unread = [picked]


@torch.inference_mode()
def score_rows(rows: torch.Tensor, token_ids: Sequence[int], *, top_k: int) -> Iterator[Readout]:
    """What the model says at each of many steps; `rows`, shape (steps, vocabulary), come from one forward pass, and
    the ids are what stands there.
    """
    for logits, token_id in zip(rows, token_ids, strict=True):
        yield replace(read(logits, top_k), picked=pick(logits, token_id))


def pick(logits: torch.Tensor, token_id: int) -> Pick:
    """The log-probability of an id under softmax(logits), shape (vocabulary,), and its rank by logit, then id."""
    logits = as_float32(logits)
    shifted, _, total = normalise(logits)
    mine = logits[token_id]
    ahead = (logits > mine).sum() + (logits[:token_id] == mine).sum()
    logprob, rank = torch.stack([shifted[token_id] - total.log(), ahead.double()]).tolist()
    return Pick(token_id, logprob, int(rank))
