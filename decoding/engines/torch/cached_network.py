"""A network with its KV cache: how it is given ids, and what it keeps of a text between two forward passes.

Owns the three cache modes, the lengths at which a text must be read again, and the chunks in which logits are computed
if all at once would take too much memory. `cache_mode_proof` finds out which mode a network needs. Knows ids alone.
"""

import copy
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import torch
from transformers import DynamicCache, PreTrainedModel

from decoding.cancellation import raise_if_cancelled
from decoding.engines.torch.cache_argument import cache_argument
from decoding.errors import RequestError
from decoding.messages import Message
from decoding.models.catalogue import format_bytes
from decoding.models.devices import free_bytes_on

CHUNK_BYTES = 64 * 2**20
"""Bytes of logits that are computed at once: 64 positions of a vocabulary of 262,144."""


class CacheMode(Enum):
    """How a network continues a text."""

    CACHE = "cache"
    """It reads the next ids and the cache that it returned."""
    POSITIONS = "positions"
    """It also needs a cache made beforehand, a mask and positions, as `generate` passes them."""
    WHOLE = "whole text"
    """It reads the whole text again, because it has no cache or its cache gives other numbers."""


@dataclass(frozen=True, slots=True)
class CacheWithIds:
    """A network's cache with the ids that were read."""

    token_ids: tuple[int, ...]
    cache: Any = None


class CachedNetwork:
    """One network, read in one mode. Not thread-safe.

    A text of more than `switch` ids is read again from its beginning there, because it changes all positions. The cache
    of `read` is the network's own if nothing else is needed, so that it can be cropped, shared and captured; else it is
    a `CacheWithIds`.
    """

    def __init__(
        self, network: PreTrainedModel, mode: CacheMode = CacheMode.CACHE, *, switch: int | None = None
    ) -> None:
        taken = inspect.signature(network.forward).parameters
        self.network, self.switch, self.chunk_bytes = network, switch, CHUNK_BYTES
        self.cache_argument = cache_argument(network)
        self.mode = mode if self.cache_argument else CacheMode.WHOLE
        self.can_skip_logits = "logits_to_keep" in taken
        self.generates_with_cache = self.mode is not CacheMode.WHOLE
        """Whether transformers' `generate` gives the same with its cache as without."""
        self.can_read_several = self.mode is not CacheMode.WHOLE
        """Whether it can continue with several ids at once; some networks start again with those."""
        self._taken = taken
        self._options: dict[str, Any] = {"use_cache": self.mode is not CacheMode.WHOLE} if "use_cache" in taken else {}
        self._vocabulary: int = network.config.get_text_config(decoder=True).vocab_size

    def with_states(self) -> "CachedNetwork":
        """A network of the same mode whose passes also return the state after each layer."""
        cached = copy.copy(self)
        cached._options = self._options | {"output_hidden_states": True}
        return cached

    @property
    def is_plain(self) -> bool:
        """Whether it needs nothing but ids and the network's own cache."""
        return self.mode is CacheMode.CACHE and self.switch is None

    @torch.inference_mode()
    def read(self, unread: Sequence[int], cache: Any = None, *, last: int = 1) -> tuple[torch.Tensor, Any]:
        """The logits after each of the last `last` ids, shape (last, vocabulary), and the cache with all ids in it.

        Raises RequestError if the logits do not fit into memory, WorkCancelledError between chunks.
        """
        before, inner = (cache.token_ids, cache.cache) if isinstance(cache, CacheWithIds) else ((), cache)
        whole = (*before, *unread)
        if self.mode is CacheMode.WHOLE or (self.switch is not None and len(before) <= self.switch < len(whole)):
            unread, inner, before = whole, None, ()
        for piece in self._chunks(unread, last):
            logits, inner = self._pass(before, piece, inner, last=last)
            before = (*before, *piece) if not self.is_plain else before
        return logits, inner if self.is_plain else CacheWithIds(whole, inner)

    def ids_until_switch(self, cache: Any) -> int | None:
        """How many ids can be added to `cache` before the text is read again; None if it never is."""
        return (
            None
            if self.switch is None
            else self.switch - len(cache.token_ids if isinstance(cache, CacheWithIds) else ())
        )

    @property
    def _row_bytes(self) -> int:
        return self._vocabulary * 4

    def _chunks(self, unread: Sequence[int], last: int) -> list[Sequence[int]]:
        """The ids of each pass. A network that computes the logits of a whole prompt reads a long one in chunks, or
        needs memory for all of them.
        """
        most = max(1, self.chunk_bytes // self._row_bytes)
        if self.can_skip_logits or len(unread) <= most:
            return [unread]
        if not self.can_read_several or last > 1:
            self._check_memory(len(unread))
            return [unread]
        return [unread[first : first + most] for first in range(0, len(unread), most)]

    def _check_memory(self, count: int) -> None:
        """Raises RequestError if the logits of `count` positions do not fit into memory."""
        needed, free = count * self._row_bytes, free_bytes_on(self.network.device.type)
        if free is not None and needed > free:
            raise RequestError(
                Message("memory.logits", count=f"{count:,}", needed=format_bytes(needed), free=format_bytes(free)),
                field="prompt",
            )

    def _pass(self, before: Sequence[int], ids: Sequence[int], cache: Any, *, last: int) -> tuple[torch.Tensor, Any]:
        raise_if_cancelled()
        options = dict(self._options)
        if self.can_skip_logits:
            options["logits_to_keep"] = last
        if self.mode is CacheMode.POSITIONS:
            options |= self._mask_and_positions(len(before), len(ids))
            cache = DynamicCache(config=self.network.config) if cache is None else cache
        if cache is not None:
            options[str(self.cache_argument)] = cache
        input_ids = torch.tensor([list(ids)], device=self.network.device)  # (1, unread)
        output = self.network(input_ids=input_ids, **options)
        left = None if self.mode is CacheMode.WHOLE else getattr(output, str(self.cache_argument), None)
        return output.logits[0, -last:], left

    def _mask_and_positions(self, before: int, count: int) -> dict[str, torch.Tensor]:
        """The mask and the positions, if the network takes them.  (1, before + count), (1, count)"""
        device = self.network.device
        given = {
            "attention_mask": torch.ones(1, before + count, dtype=torch.long, device=device),
            "position_ids": torch.arange(before, before + count, device=device)[None],
        }
        return {name: tensor for name, tensor in given.items() if name in self._taken}


@torch.inference_mode()
def measure_cache_bytes_per_token(network: PreTrainedModel) -> int:
    """The bytes of a network's cache per id, measured, because layers may differ in ways that no configuration
    states.
    """
    cached = CachedNetwork(network)
    if cached.mode is CacheMode.WHOLE:
        return 0
    sizes = [_bytes_of(cached.read([0] * count)[1]) for count in (1, 2)]
    return max(0, sizes[1] - sizes[0])


def _bytes_of(cache: Any) -> int:
    """The bytes of the keys and values in a cache."""
    tensors = [
        tensor
        for layer in getattr(cache, "layers", ())
        for tensor in (getattr(layer, "keys", None), getattr(layer, "values", None))
    ]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors if isinstance(tensor, torch.Tensor))
