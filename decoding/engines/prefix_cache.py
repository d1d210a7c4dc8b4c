"""What this process still holds of its last runs, so that a branch costs only its own steps.

Owns the kept caches and their limits. What is kept is never handed out: a branch gets a copy, so no run can change
another. Only a run with forced picks asks here; a plain run never does, so nothing kept can change one.
"""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from decoding.record.step import ScoredToken, StepScores

MAX_ENTRIES = 32
MAX_BYTES = 512 * 2**20

Key = tuple[tuple[int, ...], tuple[int, ...], int]
"""Prompt ids, picked ids, top_k."""


@dataclass(frozen=True, slots=True)
class Recalled:
    """The beginning of a run: its readouts as they were, and a cache of its own that has read everything but the last
    of prompt and picks.
    """

    readouts: tuple[StepScores, ...]
    cache: DynamicCache


@dataclass(frozen=True, slots=True)
class _Entry:
    readouts: tuple[StepScores, ...]
    cache: DynamicCache
    size: int


class Memory:
    """The last runs of one model, at most `max_entries` and `max_bytes` of them; several threads may use it."""

    def __init__(self, *, max_entries: int = MAX_ENTRIES, max_bytes: int = MAX_BYTES) -> None:
        self._max_entries, self._max_bytes = max_entries, max_bytes
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()
        self._lock = threading.Lock()

    def keep(self, token_ids: Sequence[int], readouts: Sequence[StepScores], cache: Any, *, top_k: int) -> None:
        """Keep a run that has ended; nobody may write to its cache from here on. What cannot be cropped is let go."""
        if not readouts or not can_crop(cache):
            return
        size = sum(t.numel() * t.element_size() for layer in cache.layers for t in (layer.keys, layer.values))
        if size > self._max_bytes:
            return
        key = (tuple(token_ids), tuple(readout.picked_id for readout in readouts), top_k)
        with self._lock:
            self._entries.pop(key, None)
            self._entries[key] = _Entry(tuple(readouts), cache, size)
            while len(self._entries) > self._max_entries or self.size > self._max_bytes:
                self._entries.popitem(last=False)

    def recall(
        self, token_ids: Sequence[int], forced: Mapping[int, int], *, max_new_tokens: int, top_k: int
    ) -> Recalled | None:
        """The longest beginning of a run that is still here, or None."""
        known, entry = -1, None
        with self._lock:
            for key, each in self._entries.items():
                if key[0] == tuple(token_ids) and key[2] >= top_k and (same := _same(each.readouts, forced)) > known:
                    known, entry, found = same, each, key
            if entry is None:
                return None
            self._entries.move_to_end(found)
        known = min(known, max_new_tokens)
        length = len(token_ids) + known - 1
        if not length:
            return None
        # Outside the lock: an entry may be let go meanwhile, but is never written to.
        readouts = (_repicked(readout, forced.get(n), top_k) for n, readout in enumerate(entry.readouts[:known]))
        return Recalled(tuple(readouts), copy_cropped(entry.cache, length))

    @property
    def size(self) -> int:
        """Bytes of all caches kept."""
        return sum(entry.size for entry in self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)


def can_crop(cache: Any) -> bool:
    """Whether every layer holds all positions, one after the other. Windows and recurrent states have forgotten what a
    fork would need.
    """
    return type(cache) is DynamicCache and all(
        type(layer) is DynamicLayer and layer.is_initialized for layer in cache.layers
    )


def copy_cropped(cache: DynamicCache, length: int, *, row: int = 0) -> DynamicCache:
    """A cache of its own with the first `length` positions of one row."""
    copy, layers = DynamicCache(), cast("Any", cache.layers)
    for number, layer in enumerate(layers):
        keys, values = (tensor[row : row + 1, :, :length].clone() for tensor in (layer.keys, layer.values))
        copy.update(keys, values, number)
    return copy


def _same(readouts: Sequence[StepScores], forced: Mapping[int, int]) -> int:
    """How many of the readouts a run with these picks has as well. At the fork it has the same, but for the pick: that
    one is known where it is among the candidates.
    """
    for index, readout in enumerate(readouts):
        wanted = forced.get(index, readout.token_ids[0])
        if wanted != readout.picked_id:
            return index + (wanted in readout.token_ids)
    return len(readouts)


def _repicked(readout: StepScores, token_id: int | None, top_k: int) -> StepScores:
    """A readout of `_same` cut to `top_k`, with another pick, or with argmax's (None)."""
    picked = None
    if token_id is not None and readout.picked and readout.picked.token_id == token_id:
        picked = readout.picked
    elif token_id is not None:
        rank = readout.token_ids.index(token_id)
        picked = ScoredToken(token_id, readout.logprobs[rank], rank)
    return replace(readout, token_ids=readout.token_ids[:top_k], logprobs=readout.logprobs[:top_k], picked=picked)
