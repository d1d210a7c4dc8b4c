"""A transformers network behind the protocol of `decoding.engines.network`.

Owns how such a network is called: under which name it takes and returns its cache, and what happens where it has none.
Knows no loop and no run.
"""

import inspect
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from decoding.engines.torch.batched_cache import can_share, is_attention_only
from decoding.engines.torch.names import cache_name
from decoding.engines.torch.running_batch import TorchBatch
from decoding.engines.torch.softmax import read_scores
from decoding.record.step import StepScores

MAX_READ = 512
"""Ids of one pass over a prompt: about half a second for a small model on two cores."""


class TorchNetwork:
    """See `decoding.engines.network.Network`. `network` is transformers' own, which the proof by `generate` asks
    too.
    """

    fewest_rows = 2

    def __init__(self, network: PreTrainedModel) -> None:
        self.network = network
        self._cache_name = cache_name(network)
        self._options: dict[str, Any] = {"use_cache": True} if self._cache_name else {}
        self._keeps_logits = "logits_to_keep" in inspect.signature(network.forward).parameters

    @property
    def max_read(self) -> int | None:
        # Recurrent states take one id after their prompt; and without a cache every pass reads the whole text.
        return MAX_READ if self._cache_name and is_attention_only(self.network) else None

    @cached_property
    def cache_bytes_per_token(self) -> int:
        config: Any = self.network.config.get_text_config(decoder=True)
        heads = getattr(config, "num_attention_heads", None)
        if not (self._cache_name and heads):
            return 0
        width = getattr(config, "head_dim", None) or config.hidden_size // heads
        kv_heads = getattr(config, "num_key_value_heads", None) or heads
        return int(2 * config.num_hidden_layers * kv_heads * width * self.network.dtype.itemsize)

    @torch.inference_mode()
    def read(self, token_ids: Sequence[int], cache: Any, *, last: int = 1) -> tuple[torch.Tensor, Any]:
        """See `Network.read`. The cache of a network that remembers nothing is the ids themselves."""
        if self._cache_name is None:
            token_ids = cache = [*(cache or ()), *token_ids]
        options = dict(self._options)
        if self._cache_name and cache is not None:
            options[self._cache_name] = cache
        if self._keeps_logits:
            options["logits_to_keep"] = last
        output = self.network(input_ids=torch.tensor([list(token_ids)], device=self.network.device), **options)
        if self._cache_name is not None:
            cache = getattr(output, self._cache_name, None)
            if cache is None:  # it takes a cache and returns none
                self._cache_name, cache = None, list(token_ids)
                self._options.pop("use_cache")
        return output.logits[0, -last:], cache  # (last, vocabulary)

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
        if not can_share(self.network):
            return None
        return TorchBatch(self.network, self.read, cache_bytes_per_token=self.cache_bytes_per_token)


def can_crop(cache: Any) -> bool:
    """Whether every layer holds all positions, one after the other."""
    return type(cache) is DynamicCache and all(
        type(layer) is DynamicLayer and layer.is_initialized for layer in cache.layers
    )
