"""A transformers network behind the protocol of `decoding.engines.network`.

Owns what the scheduler and the prefix cache ask of it: pieces, copies, rows. How it is given ids is
`decoding.engines.torch.reading`. Knows no loop and no run.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from decoding.engines.torch.batched_cache import can_share
from decoding.engines.torch.reading import Reader, bytes_a_token
from decoding.engines.torch.reading_proof import prove
from decoding.engines.torch.running_batch import TorchBatch
from decoding.engines.torch.softmax import read_scores
from decoding.record.step import StepScores

MAX_READ = 512
"""Ids of one pass over a prompt: about half a second for a small model on two cores."""


class TorchNetwork:
    """See `decoding.engines.network.Network`. `is_proved` is False where the network could not be tried when it was
    loaded, because its GPU is lent for the length of a run: then the first read tries it.
    """

    fewest_rows = 2

    def __init__(self, reader: Reader, *, model: str, is_proved: bool = True) -> None:
        self.network, self.reader = reader.network, reader
        self._model, self._is_proved = model, is_proved
        if is_proved:
            _ = self.cache_bytes_per_token  # measured now, and not in front of a visitor's first pass

    @property
    def max_read(self) -> int | None:
        return MAX_READ if self.reader.takes_several else None

    @cached_property
    def cache_bytes_per_token(self) -> int:
        return bytes_a_token(self.network)

    @torch.inference_mode()
    def read(self, token_ids: Sequence[int], cache: Any, *, last: int = 1) -> tuple[Any, Any]:
        if not self._is_proved:
            self.reader, self._is_proved = prove(self.network, model=self._model).reader, True
        before = len(token_ids) - last
        if last > 1 and (end := self.reader.ids_before_the_switch(cache)) is not None and before < end < len(token_ids):
            # What stands before the switch is said by the text as it was, and the rest by the text read anew.
            first, cache = self.reader.read(token_ids[:end], cache, last=end - before)
            rest, cache = self.reader.read(token_ids[end:], cache, last=len(token_ids) - end)
            return torch.cat([first, rest]), cache
        return self.reader.read(token_ids, cache, last=last)

    def can_crop(self, cache: Any) -> bool:
        return can_crop(cache)

    @torch.inference_mode()
    def copy(self, cache: Any, length: int) -> DynamicCache:
        copy = DynamicCache()
        for number, layer in enumerate(cache.layers):
            copy.update(layer.keys[:, :, :length].clone(), layer.values[:, :, :length].clone(), number)
        return copy

    def scores(self, logits: torch.Tensor, top_k: int, picked_id: int | None = None) -> StepScores:
        return read_scores(logits, top_k, picked_id)

    def new_batch(self, max_rows: int) -> TorchBatch | None:
        if not (self._is_proved and self.reader.is_plain and can_share(self.network)):
            return None
        return TorchBatch(self.network, self.read, cache_bytes_per_token=self.cache_bytes_per_token)


def can_crop(cache: Any) -> bool:
    """Whether every layer holds all positions, one after the other."""
    return type(cache) is DynamicCache and all(
        type(layer) is DynamicLayer and layer.is_initialized for layer in cache.layers
    )
