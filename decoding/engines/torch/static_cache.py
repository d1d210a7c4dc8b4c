"""A cache of fixed size: what a text has read, in tensors that never move, so that a step over them can be recorded
once and played again.

Owns the layout: position n of the text stands in column n, and the columns from `place` on are hidden by the mask,
which also is what makes a sliding window. Where transformers' own static cache keeps a window in a ring, it counts in
Python numbers, which a recording would repeat. Knows ids and readouts only by their number.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicLayer, DynamicSlidingWindowLayer

_WITH_MASKS = ("sdpa", "eager")
"""The ways of attending that take a mask of four dimensions as it is."""


class FixedLayer(CacheLayerMixin):  # type: ignore[no-untyped-call]  # transformers' own hook has no types
    """One layer's keys and values, shape (1, heads, size, width), as transformers wants it. `place`, shape (1,), is the
    column that the next id's go to; it changes in place.
    """

    is_compileable = True

    def __init__(self, like: Any, *, size: int, place: torch.Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.place, self.size = place, size
        self.window: int | None = like.sliding_window if like.is_sliding else None
        self.is_sliding = like.is_sliding
        self.keys: torch.Tensor = _room_like(like.keys, size)
        self.values: torch.Tensor = _room_like(like.values, size)
        self.is_initialized = True

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        raise NotImplementedError("a text's first tokens are read before, and then loaded")

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        self.keys.index_copy_(2, self.place, key_states)
        self.values.index_copy_(2, self.place, value_states)
        return self.keys, self.values

    def get_seq_length(self) -> int:
        return 0  # the positions are given, so nobody has to ask

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.size, 0

    def get_max_length(self) -> int:
        return self.size


class Fixed:
    """The cache of one text of at most `size` ids, made like the one that transformers makes."""

    def __init__(self, network: PreTrainedModel, like: DynamicCache, *, size: int) -> None:
        self.size = size
        self.place = torch.zeros(1, dtype=torch.long, device=network.device)
        self.layers = [FixedLayer(layer, size=size, place=self.place) for layer in layers_of(like)]
        self.cache = Cache(layers=cast("Any", list(self.layers)))
        self._columns = torch.arange(size, device=network.device)
        self._is_eager = network.config._attn_implementation == "eager"
        self._dtype = network.dtype

    def load(self, cache: DynamicCache) -> None:
        """Take over what a cache holds, and nothing of the text before: not even numbers that are none may be left
        where the mask hides them, for 0 times such a number is one.
        """
        length = int(cache.get_seq_length())
        for mine, layer in zip(self.layers, layers_of(cache), strict=True):
            kept = layer.keys.shape[-2]  # less than `length` where a window has forgotten the beginning
            for tensor, given in ((mine.keys, layer.keys), (mine.values, layer.values)):
                tensor.zero_()
                tensor[:, :, length - kept : length] = given
        self.place.fill_(length)

    def unload(self, cache: DynamicCache, *, until: int) -> None:
        """Put what was read since behind what the cache holds, up to column `until`."""
        first = int(cache.get_seq_length())
        if first < until:
            for number, mine in enumerate(self.layers):
                cache.update(mine.keys[:, :, first:until], mine.values[:, :, first:until], number)

    def mask(self) -> torch.Tensor | dict[str, torch.Tensor]:
        """What the id at `place` sees, shape (1, 1, 1, size); one for each kind of layer where there are two."""
        seen = self._columns <= self.place  # (size,)
        windows = {layer.window for layer in self.layers}
        masks = {window: self._as_mask(seen if window is None else self._within(seen, window)) for window in windows}
        if len(masks) == 1:
            return next(iter(masks.values()))
        return {"full_attention" if window is None else "sliding_attention": mask for window, mask in masks.items()}

    def _within(self, seen: torch.Tensor, window: int) -> torch.Tensor:
        return seen & (self._columns > self.place - window)

    def _as_mask(self, seen: torch.Tensor) -> torch.Tensor:
        mask = seen[None, None, None]  # (1, 1, 1, size)
        if not self._is_eager:
            return mask
        hidden = torch.finfo(self._dtype).min
        return torch.zeros_like(mask, dtype=self._dtype).masked_fill_(~mask, hidden)


def bytes_of(cache: DynamicCache, *, size: int) -> int:
    """The memory that a fixed cache of this size takes."""
    tensors = [tensor for layer in layers_of(cache) for tensor in (layer.keys, layer.values)]
    return size * sum(int(tensor[0, :, 0].numel() * tensor.element_size()) for tensor in tensors)


def can_fix(network: PreTrainedModel, cache: Any) -> bool:
    """Whether a text of this network can be held so: attention to everything before or to one window, masks that are
    given to it, and no place that says its forward pass depends on the numbers it computes.
    """
    return (
        type(cache) is DynamicCache
        and bool(getattr(network, "_can_compile_fullgraph", False))
        and network.config._attn_implementation in _WITH_MASKS
        and all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in layers_of(cache))
        and all(layer.is_initialized and layer.keys.shape[0] == 1 for layer in layers_of(cache))
        and len({layer.sliding_window for layer in layers_of(cache) if layer.is_sliding}) <= 1
    )


def layers_of(cache: DynamicCache) -> Sequence[Any]:
    return list(cache.layers)


def _room_like(tensor: torch.Tensor, size: int) -> torch.Tensor:
    return tensor.new_zeros(1, tensor.shape[1], size, tensor.shape[3])
