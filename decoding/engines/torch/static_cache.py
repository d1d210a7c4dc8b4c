"""The KV cache of a CUDA graph: transformers' own static cache, with one text a row.

Owns the layout: position n of a text stands in column n of its row, so a row needs only its length. The tensors never
move until `resize`, and one captured step reads the first `rows` rows and the first `columns` columns of them. What
lies beyond a row's length is hidden by the mask, which is also what makes a sliding window: transformers' own sliding
static layer counts in Python numbers, and a captured step would repeat those. Knows no readout and no CUDA.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import Cache, DynamicLayer, DynamicSlidingWindowLayer, StaticLayer

_ATTENTIONS = ("sdpa", "eager")
"""The implementations that take a mask of four dimensions as it is."""


class StaticRowsLayer(StaticLayer):
    """One layer's keys and values, shape (rows, heads, columns, width). transformers' layer has one length for all
    rows, and three small kernels to count it; here each row has its own, which the step was given.
    """

    numbers: torch.Tensor  # (rows,), 0, 1, 2 …
    places: torch.Tensor  # (rows,), the column that each row's next id goes to
    seen: int
    """The columns that the step reads."""

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
        return 0  # the positions are given with the ids

    def resized(self, rows: int, columns: int) -> list[torch.Tensor]:
        """Keys and values of another size, with what is in these."""
        made = []
        for before in (self.keys, self.values):
            tensor = before.new_zeros(rows, before.shape[1], columns, before.shape[3])
            both = (slice(min(rows, before.shape[0])), slice(None), slice(min(columns, before.shape[2])))
            tensor[both] = before[both]
            made.append(tensor)
        return made


class StaticRows:
    """The texts of one network, a row each, made like the cache that transformers makes."""

    def __init__(self, network: PreTrainedModel, like: DynamicCache) -> None:
        self.rows, self.columns = 0, 0
        self.lengths: list[int] = []
        """How many ids each text has read, in the order of the rows."""
        self._network, self._device = network, network.device
        self.layers = [StaticRowsLayer(layer) for layer in layers_of(like)]
        self.cache = Cache(layers=cast("Any", list(self.layers)))
        self._allocate()

    def _allocate(self) -> None:
        self.inputs = torch.zeros(2, self.rows, dtype=torch.long, device=self._device)
        """What a step reads: an id a row, and the column that it goes to."""
        self.ids, self.places = self.inputs.unbind(0)  # (rows,) each
        numbers = torch.arange(self.rows, device=self._device)  # (rows,)
        for layer in self.layers:
            layer.numbers, layer.places, layer.seen = numbers, self.places, self.columns
        self._places = torch.arange(self.columns, device=self._device)  # (columns,)

    def bytes_for(self, rows: int, columns: int) -> int:
        """The memory that a cache of this size takes."""
        tensors = [tensor for layer in self.layers for tensor in (layer.keys, layer.values)]
        return rows * columns * sum(int(t.shape[1] * t.shape[3] * t.element_size()) for t in tensors)

    def resize(self, rows: int, columns: int) -> None:
        """Tensors of another size, with all that the texts have read; where there is no memory for them, all stays as
        it is. Drop before what was captured over the old ones.
        """
        made = [layer.resized(rows, columns) for layer in self.layers]
        for layer, (keys, values) in zip(self.layers, made, strict=True):
            layer.keys, layer.values, layer.max_cache_len = keys, values, columns
        self.rows, self.columns = rows, columns
        self._allocate()

    def append(self, cache: DynamicCache) -> int:
        """Make a row of what a text has read, and return its number. Nothing of the text before may be left behind the
        mask: 0 times a NaN is a NaN.
        """
        row, length = len(self.lengths), int(cache.get_seq_length())
        for mine, layer in zip(self.layers, layers_of(cache), strict=True):
            kept = layer.keys.shape[-2]  # less than `length` where a window has forgotten the beginning
            for tensor, given in ((mine.keys, layer.keys), (mine.values, layer.values)):
                tensor[row].zero_()
                tensor[row, :, length - kept : length] = given[0]
        self.lengths.append(length)
        return row

    def set_inputs(self, token_ids: Sequence[int]) -> None:
        """The next id of each text. A row that is empty reads id 0 into its first column, where no text looks."""
        empty = [0] * (self.rows - len(token_ids))
        # Without waiting for it: the call returns when memory that is not pinned is copied.
        self.inputs.copy_(torch.tensor([[*token_ids, *empty], [*self.lengths, *empty]]), non_blocking=True)

    def copy(self, row: int) -> DynamicCache:
        """What a text has read, as it would hold it alone."""
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
        """Forget a text. The last one takes its row."""
        last = len(self.lengths) - 1
        if row != last:
            for layer in self.layers:
                for tensor in (layer.keys, layer.values):
                    tensor[row].copy_(tensor[last])
        self.lengths[row] = self.lengths[last]
        self.lengths.pop()

    def mask(self, rows: int, columns: int) -> torch.Tensor | dict[str, torch.Tensor]:
        """What each row's id sees, shape (rows, 1, 1, columns), in numbers that are added to the scores: of true and
        false every layer would make these again. Where there are two kinds of layers, one for each.
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
    """Whether a text of this network can be a row: attention to everything before or to one window, masks that are
    given to it, and transformers' word that its forward pass does not depend on the numbers that it computes.
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
