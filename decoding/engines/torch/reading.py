"""How a network is given ids: one forward pass, and what it remembers of the text from one to the next.

Owns the three ways of reading, the lengths at which a text has to be read anew, and the pieces in which logits are
computed where all at once would take much memory. Which way a network needs is found out by
`decoding.engines.torch.reading_proof`. Knows ids alone.
"""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import torch
from transformers import DynamicCache, PreTrainedModel

from decoding.cancellation import raise_if_cancelled
from decoding.engines.torch.names import cache_name
from decoding.errors import RequestError
from decoding.models.catalogue import format_bytes
from decoding.models.devices import free_bytes_on

PIECE_BYTES = 64 * 2**20
"""Logits that are computed at once, where there are more: 64 positions of a vocabulary of 262,144."""


class Way(Enum):
    """How a network goes on with a text."""

    CACHE = "cache"
    """It is given the next ids, and the cache that it returned."""
    POSITIONS = "positions"
    """As well as a cache made for it beforehand, a mask and the ids' positions, as `generate` gives them."""
    WHOLE = "whole text"
    """It is given the whole text again: it remembers nothing, or what it remembers leads elsewhere."""


@dataclass(frozen=True, slots=True)
class Held:
    """What a text needs beside the network's own cache: the ids that were read."""

    token_ids: tuple[int, ...]
    cache: Any = None


class Reader:
    """One network, read in one way. A text of more than `switch` ids is another text to it from the beginning on, so
    that it is read anew there.

    What `read` takes and returns as a cache is the network's own where nothing else is needed, so that it can be
    cropped, shared and recorded; else it is a `Held`.
    """

    def __init__(self, network: PreTrainedModel, way: Way = Way.CACHE, *, switch: int | None = None) -> None:
        taken = inspect.signature(network.forward).parameters
        self.network, self.switch = network, switch
        self.cache_name = cache_name(network)
        self.way = way if self.cache_name else Way.WHOLE
        self.keeps_last = "logits_to_keep" in taken
        self.generates_with_cache = self.way is not Way.WHOLE
        """Whether transformers' `generate` says the same with its cache as without."""
        self.takes_several = self.way is not Way.WHOLE
        """Whether it goes on with several ids at once: some networks begin anew with those."""
        self._taken = taken
        self._options: dict[str, Any] = {"use_cache": self.way is not Way.WHOLE} if "use_cache" in taken else {}
        self._vocabulary: int = network.config.get_text_config(decoder=True).vocab_size

    @property
    def is_plain(self) -> bool:
        """Whether ids and the network's own cache are all that it needs."""
        return self.way is Way.CACHE and self.switch is None

    @torch.inference_mode()
    def read(self, unread: Sequence[int], cache: Any = None, *, last: int = 1) -> tuple[torch.Tensor, Any]:
        """The logits after each of the `last` ids, shape (last, vocabulary), and the cache with all of them in it."""
        before, inner = (cache.token_ids, cache.cache) if isinstance(cache, Held) else ((), cache)
        whole = (*before, *unread)
        if self.way is Way.WHOLE or (self.switch is not None and len(before) <= self.switch < len(whole)):
            unread, inner, before = whole, None, ()
        for piece in self._pieces(unread, last):
            logits, inner = self._pass(before, piece, inner, last=last)
            before = (*before, *piece) if not self.is_plain else before
        return logits, inner if self.is_plain else Held(whole, inner)

    def ids_before_the_switch(self, cache: Any) -> int | None:
        """How many more ids than `cache` holds the text may have before it is read anew; None where it never is."""
        return None if self.switch is None else self.switch - len(cache.token_ids if isinstance(cache, Held) else ())

    @property
    def _row_bytes(self) -> int:
        return self._vocabulary * 4

    def _pieces(self, unread: Sequence[int], last: int) -> list[Sequence[int]]:
        """The ids of each pass. A network that cannot leave out the logits of a prompt reads a long one in pieces, or
        has to have the memory for all of them.
        """
        most = max(1, PIECE_BYTES // self._row_bytes)
        if self.keeps_last or len(unread) <= most:
            return [unread]
        if not self.takes_several or last > 1:
            self._check_memory(len(unread))
            return [unread]
        return [unread[first : first + most] for first in range(0, len(unread), most)]

    def _check_memory(self, count: int) -> None:
        """Raises RequestError where the logits of so many positions do not fit."""
        needed, free = count * self._row_bytes, free_bytes_on(self.network.device.type)
        if free is not None and needed > free:
            raise RequestError(
                f"The logits of {count:,} tokens need {format_bytes(needed)} of memory, and "
                f"{format_bytes(free)} is free. "
                "Shorten the text.",
                field="prompt",
            )

    def _pass(self, before: Sequence[int], ids: Sequence[int], cache: Any, *, last: int) -> tuple[torch.Tensor, Any]:
        raise_if_cancelled()
        options = dict(self._options)
        if self.keeps_last:
            options["logits_to_keep"] = last
        if self.way is Way.POSITIONS:
            options |= self._given(len(before), len(ids))
            cache = DynamicCache(config=self.network.config) if cache is None else cache
        if cache is not None:
            options[str(self.cache_name)] = cache
        input_ids = torch.tensor([list(ids)], device=self.network.device)  # (1, unread)
        output = self.network(input_ids=input_ids, **options)
        left = None if self.way is Way.WHOLE else getattr(output, str(self.cache_name), None)
        return output.logits[0, -last:], left

    def _given(self, before: int, count: int) -> dict[str, torch.Tensor]:
        """The mask and the positions, where the network takes them."""
        device = self.network.device
        given = {
            "attention_mask": torch.ones(1, before + count, dtype=torch.long, device=device),
            "position_ids": torch.arange(before, before + count, device=device)[None],
        }
        return {name: tensor for name, tensor in given.items() if name in self._taken}


@torch.inference_mode()
def bytes_a_token(network: PreTrainedModel) -> int:
    """What a network remembers of each id, measured: layers may differ in all that a configuration has names for."""
    reader = Reader(network)
    if reader.way is Way.WHOLE:
        return 0
    sizes = [_bytes_of(reader.read([0] * count)[1]) for count in (1, 2)]
    return max(0, sizes[1] - sizes[0])


def _bytes_of(cache: Any) -> int:
    """Bytes of the keys and values in a cache."""
    tensors = [
        tensor
        for layer in getattr(cache, "layers", ())
        for tensor in (getattr(layer, "keys", None), getattr(layer, "values", None))
    ]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors if isinstance(tensor, torch.Tensor))
