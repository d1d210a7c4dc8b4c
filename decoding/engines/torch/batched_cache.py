"""The batched KV cache: one row per sequence, and one forward pass for all rows.

Owns the layout. All rows share the columns and end at the same one: the keys and values of n tokens are in the n
columns before `column`, which the next pass writes. The attention mask hides the columns before a row's own, and its
positions count from its own first token, so a row sees exactly what it would see alone; because its tokens are
adjacent, a sliding window reaches equally far. A pass writes one column in place and copies nothing. Only `insert` may
reallocate the tensors; it adds spare columns, so that the next many passes need no reallocation. The last row moves to
the place of one that is removed.

column          0 1 2 3 4 5 6 7 ...
    a long row      a b c d e f .        . the column that the next pass writes
    a short row           u v w .
    (hidden)        - - -

Knows caches and ids; no scores, no thread and no visitor.
"""

import inspect
import weakref
from collections.abc import Sequence
from typing import Any, cast

import torch
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicLayer, DynamicSlidingWindowLayer

from decoding.engines.torch.cache_argument import cache_argument

SPARE_COLUMNS = 64
"""Spare columns, and so the number of passes, after each reallocation."""


class BatchedCacheLayer(CacheLayerMixin):  # type: ignore[no-untyped-call]  # transformers' own hook has no types
    """One layer's keys and values, shape (rows, heads, columns, width), as transformers expects them."""

    def __init__(self, rows: "BatchedCache", *, is_sliding: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        # A reference cycle would keep the tensors of removed batches until the next garbage collection, 100 MB each.
        self.rows: BatchedCache = weakref.proxy(rows)
        self.is_sliding = is_sliding

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        raise NotImplementedError("a row's first tokens are read alone, and then joined")

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        count, first, column = len(self.rows), self.rows.first, self.rows.column
        keys, values = cast("torch.Tensor", self.keys), cast("torch.Tensor", self.values)
        keys[:count, :, column] = key_states[:, :, 0]
        values[:count, :, column] = value_states[:, :, 0]
        return keys[:count, :, first : column + 1], values[:count, :, first : column + 1]  # (rows, heads, seen, width)

    def get_seq_length(self) -> int:
        return self.rows.column - self.rows.first

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.get_seq_length() + query_length, 0

    def get_max_length(self) -> int:
        return -1

    def reallocate(self, like: torch.Tensor, values_like: torch.Tensor, *, rows: int, columns: int, end: int) -> None:
        """Allocate tensors of another size; the rows move so that they end before column `end`."""
        old = (self.keys, self.values) if self.is_initialized else (None, None)
        made = []
        for before, example in zip(old, (like, values_like), strict=True):
            tensor = example.new_zeros(rows, example.shape[1], columns, example.shape[3])
            if before is not None:
                count, length = len(self.rows), self.get_seq_length()
                tensor[:count, :, end - length : end] = before[:count, :, self.rows.first : self.rows.column]
            made.append(tensor)
        self.keys, self.values = made
        self.is_initialized = True


class BatchedCache:
    """The KV caches of a batch, see above. `lengths` are the tokens that each row has read. Not thread-safe."""

    def __init__(self, network: PreTrainedModel, *, spare_columns: int = SPARE_COLUMNS) -> None:
        self._network, self._spare_columns = network, spare_columns
        self.lengths: list[int] = []
        self.column = 0
        self._layers: list[BatchedCacheLayer] = []
        self._spare = 0  # allocated rows
        self._cache_name = cache_argument(network) or ""
        self._options: dict[str, Any] = {"use_cache": True}
        if "logits_to_keep" in inspect.signature(network.forward).parameters:
            self._options["logits_to_keep"] = 1

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def first(self) -> int:
        """The first column that any row sees."""
        return self.column - max(self.lengths, default=0)

    def cells_to_insert(self, lengths: Sequence[int]) -> int:
        """Rows times columns that `insert` would allocate; 0 if the tensors have room."""
        if self._fits(lengths):
            return 0
        rows, columns = self._size(lengths)
        return rows * columns

    def insert(self, caches: Sequence[DynamicCache]) -> None:
        """Add a row for each cache, in this order. The caches are copied and stay as they are."""
        if not self._fits([cache.get_seq_length() for cache in caches]):
            self._reallocate(caches)
        for cache in caches:
            row, length = len(self.lengths), cache.get_seq_length()
            for mine, layer in zip(self._layers, layers_of(cache), strict=True):
                kept = layer.keys.shape[-2]  # less than `length` if a window has dropped the beginning
                mine.keys[row, :, self.column - kept : self.column] = layer.keys[0]  # type: ignore[index]
                mine.values[row, :, self.column - kept : self.column] = layer.values[0]  # type: ignore[index]
            self.lengths.append(length)

    def remove(self, row: int) -> None:
        """Remove a row. The last row takes its place."""
        last = len(self.lengths) - 1
        if row != last:
            for layer in self._layers:
                for tensor in (layer.keys, layer.values):
                    tensor[row, :, self.first : self.column] = tensor[last, :, self.first : self.column]  # type: ignore[index]
        self.lengths[row] = self.lengths[last]
        self.lengths.pop()

    def copy_row(self, row: int) -> DynamicCache:
        """A copy of a row as the cache of a single sequence; the row stays."""
        length = self.lengths[row]
        cache = DynamicCache(config=self._network.config)
        for number, (mine, layer) in enumerate(zip(self._layers, layers_of(cache), strict=True)):
            kept = min(length, layer.sliding_window - 1) if layer.is_sliding else length
            here = slice(self.column - kept, self.column)
            cache.update(mine.keys[row : row + 1, :, here].clone(), mine.values[row : row + 1, :, here].clone(), number)  # type: ignore[index]
            if layer.is_sliding:
                layer.cumulative_length = length
        return cache

    def step(self, token_ids: Sequence[int]) -> torch.Tensor:
        """One forward pass over one token per row. Returns the logits after it, shape (rows, vocabulary).

        If the pass fails, only the column that the next pass writes has changed.
        """
        if self.column == self._columns:
            self._reallocate(())
        device = self._network.device
        lengths = torch.tensor(self.lengths, device=device)[:, None]  # (rows, 1)
        seen = self.column - self.first + 1
        mask = torch.arange(seen, device=device)[None] >= seen - 1 - lengths  # (rows, seen)
        output = self._network(
            input_ids=torch.tensor(token_ids, device=device)[:, None],
            attention_mask=mask,
            position_ids=lengths,
            **{self._cache_name: Cache(layers=list(self._layers))},
            **self._options,
        )
        self.column += 1
        self.lengths = [length + 1 for length in self.lengths]
        return output.logits[:, -1]  # type: ignore[no-any-return]

    @property
    def _columns(self) -> int:
        return self._layers[0].keys.shape[-2] if self._layers else 0  # type: ignore[union-attr]

    def _fits(self, lengths: Sequence[int]) -> bool:
        return len(self) + len(lengths) <= self._spare and max(lengths) <= self.column < self._columns

    def _size(self, lengths: Sequence[int]) -> tuple[int, int]:
        """The rows and columns of new tensors. Rows are a power of two, so that few insertions reallocate."""
        rows, longest = len(self) + len(lengths), max([*self.lengths, *lengths])
        return 1 << (rows - 1).bit_length(), longest + self._spare_columns

    def _reallocate(self, caches: Sequence[DynamicCache]) -> None:
        rows, columns = self._size([cache.get_seq_length() for cache in caches])
        layers = layers_of(caches[0]) if caches else self._layers
        if not self._layers:
            self._layers = [BatchedCacheLayer(self, is_sliding=layer.is_sliding) for layer in layers]
        end = columns - self._spare_columns
        for mine, layer in zip(self._layers, layers, strict=True):
            mine.reallocate(layer.keys, layer.values, rows=rows, columns=columns, end=end)
        self._spare, self.column = rows, end


def layers_of(cache: Any) -> list[Any]:
    return list(cache.layers)


def can_share_passes(network: PreTrainedModel) -> bool:
    """Whether sequences of this network can share passes without changing numbers.

    They need float32, attention to everything before or to a window, and a network that takes positions and masks. In
    16 bits a batch rounds differently from a single sequence, which changes close calls.
    """
    return (
        network.dtype == torch.float32
        and is_attention_only(network)
        and {"attention_mask", "position_ids"} <= inspect.signature(network.forward).parameters.keys()
        and cache_argument(network) in ("cache", "past_key_values")
        and not turns_by_longest_text(network)
    )


def turns_by_longest_text(network: PreTrainedModel) -> bool:
    """Whether the frequencies of its rotary embedding depend on the longest text of a pass, not on each row's own."""
    ropes = str(getattr(network.config.get_text_config(decoder=True), "rope_parameters", None))
    return "dynamic" in ropes or "longrope" in ropes


def is_attention_only(network: PreTrainedModel) -> bool:
    """Whether a network's state is keys and values, of everything before or of a window."""
    config: Any = network.config.get_text_config(decoder=True)
    layers = set(getattr(config, "layer_types", None) or ())
    return layers <= {"full_attention", "sliding_attention"} and not getattr(network, "_is_stateful", False)


def can_insert(cache: Any) -> bool:
    """Whether a sequence with this cache can be a row."""
    return type(cache) is DynamicCache and all(
        type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) and layer.is_initialized for layer in layers_of(cache)
    )
