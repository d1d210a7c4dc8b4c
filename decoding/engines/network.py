"""The one thing that every way of computing a model has in common: ids and a cache in, logits and a cache out.

Owns the protocol of a network in this process, and of a batch of its sequences that share forward passes. The loop, the
readout, the scheduler, branches and scores are written once, over these. Knows no text, no thread and no library.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from decoding.record.step import StepScores

Logits = Any
"""Numbers of shape (vocabulary,), where the network computes them: a NumPy array, or a tensor on a GPU."""
Cache = Any
"""The keys and values of one sequence. Only the network that made it looks inside."""


class Network(Protocol):
    """One model's forward pass. One thread at a time may call it; the engine above sees to that."""

    @property
    def cache_bytes_per_token(self) -> int:
        """What one more id of one sequence costs in memory; 0 where the cache does not grow with the text."""
        ...

    @property
    def max_read(self) -> int | None:
        """The most ids that one `read` should be given, so that others wait no longer than about half a second; None
        where a prompt has to be read in one pass.
        """
        ...

    @property
    def fewest_rows(self) -> int:
        """From so many sequences on a shared pass is faster than one pass for each; at least 2."""
        ...

    def read(self, token_ids: Sequence[int], cache: Cache | None, *, last: int = 1) -> tuple[Any, Cache]:
        """Read at least one id after what `cache` holds (None: nothing). Returns the logits that follow each of the
        last `last` ids, shape (last, vocabulary), and the cache with all of them in it. The cache that was given is
        used up.
        """
        ...

    def can_crop(self, cache: Cache) -> bool:
        """Whether a cache can be cut to a shorter text, which a branch from a kept prefix needs. Windows and recurrent
        states have forgotten what it would take.
        """
        ...

    def copy(self, cache: Cache, length: int) -> Cache:
        """A cache of its own that holds the first `length` ids; needs `can_crop`."""
        ...

    def scores(self, logits: Logits, top_k: int, picked_id: int | None = None) -> StepScores:
        """See `decoding.softmax.read_scores`; computed where the logits lie."""
        ...

    def new_batch(self, max_rows: int) -> "RunningBatch | None":
        """An empty batch, or None where this network's sequences cannot share a pass without changing numbers."""
        ...


class RunningBatch(Protocol):
    """Sequences that read their next id in one forward pass. They join and leave between two passes."""

    def bytes_to_insert(self, lengths: Sequence[int]) -> int:
        """What has to be free in memory for sequences of these lengths to join."""
        ...

    def insert(self, cache: Cache) -> int:
        """Take a sequence in; its cache is used up. Returns its row, which stays its own until it is removed. Raises
        MemoryError where there is no room, and is then as it was.
        """
        ...

    def remove(self, row: int) -> Cache:
        """Take a sequence out, with its cache."""
        ...

    def step(self, ids: Mapping[int, int]) -> Mapping[int, Logits]:
        """One forward pass: each row in the batch reads its one id. Returns the logits of each row. Where it raises,
        the batch and the caches in it are lost.
        """
        ...
