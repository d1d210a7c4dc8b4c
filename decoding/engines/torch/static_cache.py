"""The static KV cache of a CUDA graph: transformers' static cache with one sequence per row.

Owns the layout: position n of a sequence is in column n of its row, so a row needs only its length. The tensors do not
move until `resize`, and a captured step reads the first `rows` rows and the first `columns` columns. The mask hides
what is beyond a row's length, and implements sliding windows: transformers' own sliding static layer counts in Python
numbers, which a captured step would repeat. Knows no readout and no CUDA.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import Cache, DynamicLayer, DynamicSlidingWindowLayer, StaticLayer

_ATTENTIONS = ("sdpa", "eager")
"""The attention implementations that accept a mask of four dimensions as it is."""


class StaticCacheLayer(StaticLayer):
    """One layer's keys and values, shape (rows, heads, columns, width).

    transformers' layer has one length for all rows, and three small kernels to count it; here each row has its own
    length, which the step is given.
    """

    numbers: torch.Tensor  # (rows,), 0, 1, 2 …
    places: torch.Tensor  # (rows,), the column that each row's next id goes to
    seen: int
    """The number of columns that the step reads."""

    def __init__(self, like: Any) -> None:
        super().__init__(max_cache_len=0)  # type: ignore[no-untyped-call]
        self.window: int | None = like.sliding_window if like.is_sliding else None
        self.keys: torch.Tensor = like.keys.new_zeros(0, like.keys.shape[1], 0, like.keys.shape[3])
        self.values: torch.Tensor = like.values.new_zeros(0, like.values.shape[1], 0, like.values.shape[3])
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        count = key_states.shape[0]
        here = (self.numbers[:count], slice(None), self.places[:count])
        self.keys[here] = key_states[:, :, 0]
        self.values[here] = value_states[:, :, 0]
        return self.keys[:count, :, : self.seen], self.values[:count, :, : self.seen]  # (rows, heads, columns, width)

    def get_seq_length(self) -> int:
        return 0  # positions are passed with the ids

    def resized(self, rows: int, columns: int) -> list[torch.Tensor]:
        """Copies of keys and values in another size."""
        made = []
        for before in (self.keys, self.values):
            tensor = before.new_zeros(rows, before.shape[1], columns, before.shape[3])
            both = (slice(min(rows, before.shape[0])), slice(None), slice(min(columns, before.shape[2])))
            tensor[both] = before[both]
            made.append(tensor)
        return made


class StaticCache:
    """The KV caches of up to `rows` sequences of one network, laid out like the cache `like` that transformers makes.
    Not thread-safe.
    """

    def __init__(self, network: PreTrainedModel, like: DynamicCache) -> None:
        self.rows, self.columns = 0, 0
        self.lengths: list[int] = []
        """The number of ids that each sequence has read, by row."""
        self._network, self._device = network, network.device
        self.layers = [StaticCacheLayer(layer) for layer in layers_of(like)]
        self.cache = Cache(layers=cast("Any", list(self.layers)))
        self._allocate()

    def _allocate(self) -> None:
        self.inputs = torch.zeros(2, self.rows, dtype=torch.long, device=self._device)
        """The input of a step, shape (2, rows): the id of each row, and the column it goes to."""
        self.ids, self.places = self.inputs.unbind(0)  # (rows,) each
        numbers = torch.arange(self.rows, device=self._device)  # (rows,)
        for layer in self.layers:
            layer.numbers, layer.places, layer.seen = numbers, self.places, self.columns
        self._places = torch.arange(self.columns, device=self._device)  # (columns,)

    def bytes_for(self, rows: int, columns: int) -> int:
        """The bytes that a cache of this size takes."""
        tensors = [tensor for layer in self.layers for tensor in (layer.keys, layer.values)]
        return rows * columns * sum(int(t.shape[1] * t.shape[3] * t.element_size()) for t in tensors)

    def resize(self, rows: int, columns: int) -> None:
        """Reallocate the tensors and copy the sequences. If memory is too short, nothing changes.

        Graphs that were captured over the old tensors must be dropped before.
        """
        made = [layer.resized(rows, columns) for layer in self.layers]
        for layer, (keys, values) in zip(self.layers, made, strict=True):
            layer.keys, layer.values, layer.max_cache_len = keys, values, columns
        self.rows, self.columns = rows, columns
        self._allocate()

    def append(self, cache: DynamicCache) -> int:
        """Copy the cache of a sequence into a new row and return its number. The row is zeroed first, because 0 times a
        NaN behind the mask is NaN.
        """
        row, length = len(self.lengths), int(cache.get_seq_length())
        for mine, layer in zip(self.layers, layers_of(cache), strict=True):
            kept = layer.keys.shape[-2]  # less than `length` if a window has dropped the beginning
            for tensor, given in ((mine.keys, layer.keys), (mine.values, layer.values)):
                tensor[row].zero_()
                tensor[row, :, length - kept : length] = given[0]
        self.lengths.append(length)
        return row

    def set_inputs(self, token_ids: Sequence[int]) -> None:
        """Set the next id of each sequence. An empty row reads id 0 into its first column, which no sequence sees."""
        empty = [0] * (self.rows - len(token_ids))
        # Does not wait: the call returns when the memory, which is not pinned, has been copied.
        self.inputs.copy_(torch.tensor([[*token_ids, *empty], [*self.lengths, *empty]]), non_blocking=True)

    def copy(self, row: int) -> DynamicCache:
        """A copy of a row as the cache of a single sequence."""
        length = self.lengths[row]
        cache = DynamicCache(config=self._network.config)
        for number, (mine, layer) in enumerate(zip(self.layers, layers_of(cache), strict=True)):
            kept = length if mine.window is None else min(length, mine.window - 1)
            here = slice(length - kept, length)
            cache.update(mine.keys[row : row + 1, :, here].clone(), mine.values[row : row + 1, :, here].clone(), number)
            if layer.is_sliding:
                layer.cumulative_length = length
        return cache

    def remove(self, row: int) -> None:
        """Remove a row. The last row takes its place."""
        last = len(self.lengths) - 1
        if row != last:
            for layer in self.layers:
                for tensor in (layer.keys, layer.values):
                    tensor[row].copy_(tensor[last])
        self.lengths[row] = self.lengths[last]
        self.lengths.pop()

    def mask(self, rows: int, columns: int) -> torch.Tensor | dict[str, torch.Tensor]:
        """The attention mask of each row's id, shape (rows, 1, 1, columns), added to the scores.

        It is additive, because every layer would convert a boolean mask again. If there are two kinds of layers, there
        is one mask for each.
        """
        for layer in self.layers:
            layer.seen = columns
        here, places = self._places[:columns], self.places[:rows, None]  # (columns,), (rows, 1)
        behind = places - here  # (rows, columns), how far back each column is
        hidden = torch.finfo(self._network.dtype).min
        masks = {}
        for window in {layer.window for layer in self.layers}:
            seen = behind >= 0 if window is None else (behind >= 0) & (behind < window)
            zeros = torch.zeros(rows, columns, dtype=self._network.dtype, device=self._device)
            masks[window] = zeros.masked_fill_(~seen, hidden)[:, None, None]
        if len(masks) == 1:
            return next(iter(masks.values()))
        return {"full_attention" if window is None else "sliding_attention": mask for window, mask in masks.items()}


def can_be_static(network: PreTrainedModel, cache: Any) -> bool:
    """Whether a sequence of this network can be a row: all its layers attend to everything before or to one window,
    take a mask, and transformers declares that its forward pass does not depend on computed values.
    """
    return (
        type(cache) is DynamicCache
        and bool(getattr(network, "_can_compile_fullgraph", False))
        and network.config._attn_implementation in _ATTENTIONS
        and all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in layers_of(cache))
        and all(layer.is_initialized and layer.keys.shape[0] == 1 for layer in layers_of(cache))
        and len({layer.sliding_window for layer in layers_of(cache) if layer.is_sliding}) <= 1
    )


def layers_of(cache: Any) -> list[Any]:
    return list(cache.layers)
