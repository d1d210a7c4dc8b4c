"""The running batch of a transformers network: see `decoding.engines.network_protocol.RunningBatch`.

Owns which sequence is in which row, and the proof that sharing changes nothing: the first pass over rows of different
lengths is also made for single rows. Knows no threads and no readers.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from transformers import DynamicCache

from decoding.engines.torch.batched_cache import SPARE_COLUMNS, BatchedCache, can_insert
from decoding.errors import ModelError

TOLERANCE = 1e-4
"""The largest difference in a probability that sharing may cause; the README promises it."""

PassAlone = Callable[[Sequence[int], Any], tuple[torch.Tensor, Any]]


class TorchBatch:
    """See `decoding.engines.network_protocol.RunningBatch`. `read` is a pass for one sequence, see `Network.read`;
    `plain_cache` gives the network's own cache of what a row is inserted from.
    """

    def __init__(
        self,
        network: Any,
        read: PassAlone,
        plain_cache: Callable[[Any], Any],
        *,
        cache_bytes_per_token: int,
        spare_columns: int = SPARE_COLUMNS,
    ) -> None:
        self._rows = BatchedCache(network, spare_columns=spare_columns)
        self._read, self._plain_cache, self._cell_bytes = read, plain_cache, cache_bytes_per_token
        self._order: list[int] = []  # the sequence in each row of the tensors
        self._next, self._proved = 0, False

    def bytes_to_insert(self, lengths: Sequence[int]) -> int:
        return self._rows.cells_to_insert(lengths) * self._cell_bytes

    @torch.inference_mode()
    def insert(self, cache: Any) -> int:
        cache = self._plain_cache(cache)
        if not can_insert(cache):
            raise ModelError("a cache of this kind cannot be a row of a batch")
        try:
            self._rows.insert([cache])
        except RuntimeError as error:  # torch raises it if memory runs out
            raise MemoryError(str(error)) from error
        self._next += 1
        self._order.append(self._next)
        return self._next

    @torch.inference_mode()
    def remove(self, row: int) -> DynamicCache:
        place = self._order.index(row)
        try:
            return self._rows.copy_row(place)
        finally:
            self._rows.remove(place)  # the last row takes its place
            self._order[place] = self._order[-1]
            self._order.pop()

    @torch.inference_mode()
    def step(self, ids: Mapping[int, int]) -> Mapping[int, torch.Tensor]:
        in_order = [ids[row] for row in self._order]
        alone = self._rows_to_prove()
        logits = self._rows.step(in_order)  # (rows, vocabulary)
        for place, cache in alone.items():
            _prove(logits[place], self._read([in_order[place]], cache)[0][-1])
        return dict(zip(self._order, logits, strict=True))

    def _rows_to_prove(self) -> dict[int, DynamicCache]:
        """Copies of the caches of the shortest and the longest row, the first time that rows differ in length; else
        {}.
        """
        lengths = self._rows.lengths
        if self._proved or len(set(lengths)) < 2:
            return {}
        self._proved = True
        return {
            place: self._rows.copy_row(place) for place in (lengths.index(min(lengths)), lengths.index(max(lengths)))
        }


def _prove(shared: torch.Tensor, alone: torch.Tensor) -> None:
    """Raises ModelError if a row's logits, shape (vocabulary,), differ from those of a pass of its own."""
    difference = (shared.softmax(-1) - alone.softmax(-1)).abs().max().item()
    if not difference <= TOLERANCE:
        raise ModelError(f"sharing a pass changed a probability by {difference:.2g}")
