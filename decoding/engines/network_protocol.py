"""The protocol of a network in this process: ids and a cache in, logits and a cache out.

Owns the protocol of a network, and of a batch of sequences that share its passes. The loop, the scores, the scheduler,
branches and given texts are written once, over these. Knows no text, no thread and no library.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from decoding.record.step import StepScores

Logits = Any
"""Logits of shape (vocabulary,), on the network's device: a NumPy array or a tensor."""
Cache = Any
"""The KV cache of one sequence. Only the network that made it knows its contents."""


def pass_bytes(width: int, mlp_width: int, itemsize: int) -> int:
    """An estimate of the activations of one id in a pass: eight values for each of a state and of the MLP.

    With the starter, reading 512 ids in ONNX Runtime took 93 MB, and `memory_needs` counts 103 MB with this.
    """
    return 8 * (width + mlp_width) * itemsize


class Network(Protocol):
    """One model's forward pass. Not thread-safe: the engine above ensures one call at a time."""

    @property
    def cache_bytes_per_token(self) -> int:
        """The bytes that one more id of a sequence takes in its cache; 0 if the cache does not grow."""
        ...

    @property
    def pass_bytes_per_token(self) -> int:
        """The bytes that a pass takes for each id that it reads, beside its cache; see `pass_bytes`."""
        ...

    @property
    def max_read(self) -> int | None:
        """The most ids that one `read` should get, so that others wait at most about half a second; None if a prompt
        must be read in one pass.
        """
        ...

    @property
    def layers(self) -> int: ...

    @property
    def fewest_rows(self) -> int:
        """From this many sequences on, a shared pass is faster than one pass for each; at least 2. Asked for before
        each pass: it may change.
        """
        ...

    def read(self, token_ids: Sequence[int], cache: Cache | None, *, last: int = 1) -> tuple[Any, Cache]:
        """Read at least one id after those in `cache` (None: nothing).

        Returns the logits that follow each of the last `last` ids, shape (last, vocabulary), and the cache with all ids
        in it. The cache that was given must not be used again. Raises MemoryError or RuntimeError if memory runs out.
        """
        ...

    @property
    def max_reread(self) -> int:
        """As many ids more in a pass take as long as another pass does. 0: this network has no method `read_texts`.

        `read_texts(texts)` reads texts of any lengths in one pass, what they begin with once, and returns the logits
        after each, shape (texts, vocabulary), and the cache of each with all its ids in it.
        """
        ...

    def read_layers(self, token_ids: Sequence[int], cache: Cache | None) -> Any:
        """Read ids as `read` does, and return the logits after the last of them as the last norm and the head read each
        layer's state: of the embedding, then after each layer. Shape (layers + 1, vocabulary), float32, in NumPy.

        The cache must not be used again. Raises RequestError for a network whose layers cannot be read so.
        """
        ...

    def can_crop(self, cache: Cache) -> bool:
        """Whether a cache can be cut to a shorter text, as a branch from a kept prefix needs. Caches of sliding windows
        and recurrent states cannot, because they no longer hold the beginning.
        """
        ...

    def copy(self, cache: Cache, length: int) -> Cache:
        """An independent copy of the first `length` ids of a cache; requires `can_crop`."""
        ...

    def fork(self, cache: Cache) -> Cache:
        """An independent copy of a whole cache of any kind; the one that was given stays usable."""
        ...

    def scores(self, logits: Logits, top_k: int, picked_id: int | None = None) -> StepScores:
        """See `decoding.softmax.read_scores`; computed on the device of the logits."""
        ...

    def to_numpy(self, logits: Logits) -> NDArray[np.float32]:
        """The logits of one id on the host, in float32."""
        ...

    def new_batch(self, max_rows: int) -> "RunningBatch | None":
        """An empty batch, or None if this network's sequences cannot share a pass without changing numbers."""
        ...


class RunningBatch(Protocol):
    """A batch of sequences that read their next ids in one forward pass. They are inserted and removed between passes.
    Not thread-safe.
    """

    def bytes_to_insert(self, lengths: Sequence[int]) -> int:
        """The bytes that must be free to insert sequences of these lengths."""
        ...

    def insert(self, cache: Cache) -> int:
        """Insert a sequence and return its row, which is its name until it is removed. Its cache must not be used
        again.

        Raises MemoryError if memory is too short, and then nothing has changed.
        """
        ...

    def remove(self, row: int) -> Cache:
        """Remove a sequence and return its cache.

        Raises MemoryError or RuntimeError if memory is too short for that cache; the sequence is removed all the same.
        """
        ...

    def step(self, ids: Mapping[int, int]) -> Mapping[int, Logits]:
        """One forward pass: each row of the batch reads its id. Returns the logits of each row, shape (vocabulary,).

        If it raises, the batch and its caches are lost.
        """
        ...
