"""A transformers network: see `decoding.engines.network_protocol.Network`.

Owns what the scheduler and the prefix cache need of it: chunks, copies, rows. `cached_network` owns how
it is given ids. Knows no loop and no run.
"""

import copy
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from decoding.engines.network_protocol import pass_bytes
from decoding.engines.torch.batched_cache import SPARE_COLUMNS, can_share_passes
from decoding.engines.torch.cache_mode_proof import prove
from decoding.engines.torch.cached_network import CachedNetwork, measure_cache_bytes_per_token
from decoding.engines.torch.layer_reading import layer_count, read_layers
from decoding.engines.torch.running_batch import TorchBatch
from decoding.engines.torch.softmax import read_scores, to_numpy
from decoding.record.step import StepScores

MAX_READ = 512
"""The most ids of one pass over a prompt: about half a second for a small model on two cores."""
_UNSTATED_WIDTH = 4096
"""The width of a state that is assumed where a family's configuration states none, as BLT's."""


class TorchNetwork:
    """See `decoding.engines.network_protocol.Network`. Not thread-safe.

    `is_proved` is False if the network could not be tried when it was loaded, because its GPU is lent per run
    (ZeroGPU); then the first read tries it.
    """

    fewest_rows = 2
    max_reread = 0

    def __init__(self, cached: CachedNetwork, *, model: str, is_proved: bool = True) -> None:
        self.network, self.cached = cached.network, cached
        self.spare_columns = SPARE_COLUMNS
        """Of the tensors of a batch; see `decoding.engines.torch.batched_cache`."""
        self._model, self._is_proved = model, is_proved
        if is_proved:
            _ = self.cache_bytes_per_token  # measured now, so that no visitor waits for it

    @property
    def max_read(self) -> int | None:
        return MAX_READ if self.cached.can_read_several else None

    @cached_property
    def cache_bytes_per_token(self) -> int:
        return measure_cache_bytes_per_token(self.network)

    @property
    def pass_bytes_per_token(self) -> int:
        config = self.network.config.get_text_config(decoder=True)
        width = getattr(config, "hidden_size", None) or _UNSTATED_WIDTH
        inner = getattr(config, "intermediate_size", None) or 4 * width
        widest = max(inner) if isinstance(inner, list) else inner  # some families have one for each layer
        return pass_bytes(width, widest, self.network.dtype.itemsize)

    @torch.inference_mode()
    def read(self, token_ids: Sequence[int], cache: Any, *, last: int = 1) -> tuple[Any, Any]:
        if not self._is_proved:
            self.cached, self._is_proved = prove(self.network, model=self._model).cached, True
        before = len(token_ids) - last
        if last > 1 and (end := self.cached.ids_until_switch(cache)) is not None and before < end < len(token_ids):
            # The logits before the switch come from the text as it was, the others from the text read again.
            first, cache = self.cached.read(token_ids[:end], cache, last=end - before)
            rest, cache = self.cached.read(token_ids[end:], cache, last=len(token_ids) - end)
            return torch.cat([first, rest]), cache
        return self.cached.read(token_ids, cache, last=last)

    @property
    def layers(self) -> int:
        return layer_count(self.network)

    def read_layers(self, token_ids: Sequence[int], cache: Any) -> Any:
        return read_layers(self.cached, token_ids, cache, model=self._model)

    def can_crop(self, cache: Any) -> bool:
        return can_crop(cache)

    @torch.inference_mode()
    def copy(self, cache: Any, length: int) -> DynamicCache:
        copy = DynamicCache()
        for number, layer in enumerate(cache.layers):
            copy.update(layer.keys[:, :, :length].clone(), layer.values[:, :, :length].clone(), number)
        return copy

    @torch.inference_mode()
    def fork(self, cache: Any) -> Any:
        return copy.deepcopy(cache)  # windows and recurrent states too

    def scores(self, logits: torch.Tensor, top_k: int, picked_id: int | None = None) -> StepScores:
        return read_scores(logits, top_k, picked_id)

    def to_numpy(self, logits: torch.Tensor) -> NDArray[np.float32]:
        return to_numpy(logits)

    def new_batch(self, max_rows: int, *, plain_cache: Callable[[Any], Any] = lambda cache: cache) -> TorchBatch | None:
        """A batch whose rows are made from the `plain_cache` of what they are inserted from."""
        if not (self._is_proved and self.cached.is_plain and can_share_passes(self.network)):
            return None
        sizes = {"cache_bytes_per_token": self.cache_bytes_per_token, "spare_columns": self.spare_columns}
        return TorchBatch(self.network, self.read, plain_cache, **sizes)


def can_crop(cache: Any) -> bool:
    """Whether every layer holds all positions in order, so that the cache can be cropped."""
    return type(cache) is DynamicCache and all(
        type(layer) is DynamicLayer and layer.is_initialized for layer in cache.layers
    )
