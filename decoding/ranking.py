"""The ranking of a step's tokens: where candidates are cut, and how a tie is broken (the lower id comes first).

Knows logits alone. Draws have cuts of their own in `decoding.sampling`, beams in `decoding.beam`.
"""

import numpy as np
from numpy.typing import NDArray

_BLOCKS = 256

Logits = NDArray[np.float32]


def rank(logits: Logits, top_k: int) -> NDArray[np.int64]:
    """The ids of the `top_k` largest logits, shape (vocabulary,), float32: largest first, lower id first in a tie."""
    ids = np.arange(len(logits)) if top_k * 2 > _BLOCKS else _candidates(logits, top_k)
    ids = ids[np.lexsort((ids, -logits[ids]))]  # by logit, then by id
    return ids[:top_k]


def _candidates(logits: Logits, top_k: int) -> NDArray[np.int64]:
    """A few ids that include the `top_k` largest.

    The vocabulary is divided into blocks. The k-th largest of the blocks' maxima is at most the k-th largest logit, and
    most logits are below it.
    """
    whole = len(logits) // _BLOCKS * _BLOCKS
    if not whole:
        return np.arange(len(logits))
    largest = logits[:whole].reshape(-1, _BLOCKS).max(axis=0)  # (blocks,)
    bound = np.partition(largest, -top_k)[-top_k]
    ids: NDArray[np.int64] = np.flatnonzero(logits >= bound)
    return ids if len(ids) >= top_k else np.arange(len(logits))  # comparisons with NaN are False
