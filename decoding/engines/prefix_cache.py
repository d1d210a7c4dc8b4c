"""The prefix cache: the last runs of a network, so that a branch computes only its own steps.

Owns the kept KV caches and their limits. A kept cache is never handed out: a branch gets a copy, so no run can change
another one. It is searched by runs with forced picks, and by every run of a batch.
"""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from decoding.engines.network_protocol import Cache, Network
from decoding.record.pick_rule import ARGMAX, PickRule
from decoding.record.step import ScoredToken, StepScores

MAX_ENTRIES = 32
MAX_BYTES = 512 * 2**20

Key = tuple[tuple[int, ...], tuple[int, ...], int]
"""Prompt ids, picked ids, top_k."""


@dataclass(frozen=True, slots=True)
class Prefix:
    """The beginning of a run: its steps, and a cache of its own with all ids but the last of prompt and picks."""

    steps: tuple[StepScores, ...]
    cache: Cache


@dataclass(frozen=True, slots=True)
class _Entry:
    steps: tuple[StepScores, ...]
    cache: Cache
    size: int


class PrefixCache:
    """The last runs of one network, at most `max_entries` and `max_bytes` of them. Thread-safe."""

    def __init__(self, network: Network, *, max_entries: int = MAX_ENTRIES, max_bytes: int = MAX_BYTES) -> None:
        self._network, self._max_entries, self._max_bytes = network, max_entries, max_bytes
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()
        self._lock = threading.Lock()

    def keep(self, token_ids: Sequence[int], steps: Sequence[StepScores], cache: Cache, *, top_k: int) -> None:
        """Keep a run that has ended, unless its cache cannot be cropped. The caller must not use the cache again."""
        if not steps or cache is None or not self._network.can_crop(cache):
            return
        size = self._network.cache_bytes_per_token * (len(token_ids) + len(steps))
        if size > self._max_bytes:
            return
        key = (tuple(token_ids), tuple(step.picked_id for step in steps), top_k)
        with self._lock:
            self._entries.pop(key, None)
            self._entries[key] = _Entry(tuple(steps), cache, size)
            while len(self._entries) > self._max_entries or self.size > self._max_bytes:
                self._entries.popitem(last=False)

    def recall(
        self,
        token_ids: Sequence[int],
        forced: Mapping[int, int],
        *,
        max_new_tokens: int,
        top_k: int,
        rule: PickRule = ARGMAX,
    ) -> Prefix | None:
        """The longest kept beginning of the run from `token_ids` with these `forced` picks and this `rule`, at most
        `max_new_tokens` steps; None if nothing of it is kept. Among entries of the same length, the one that was kept
        or used last is taken, so a branch shows its parent's numbers to the bit.
        No draw is kept: where a run draws, its beginning ends.
        """
        known, entry = -1, None
        with self._lock:
            for key, each in reversed(self._entries.items()):
                if (
                    key[0] == tuple(token_ids)
                    and key[2] >= top_k
                    and (same := _common(each.steps, forced, rule)) > known
                ):
                    known, entry, found = same, each, key
            if entry is None:
                return None
            self._entries.move_to_end(found)
        known = min(known, max_new_tokens)
        length = len(token_ids) + known - 1
        if not length:
            return None
        # Copied outside the lock: the entry may be evicted meanwhile, but is never written to.
        steps = (_repicked(step, forced.get(n), top_k, rule) for n, step in enumerate(entry.steps[:known]))
        return Prefix(tuple(steps), self._network.copy(entry.cache, length))

    @property
    def size(self) -> int:
        """The bytes of all kept caches."""
        return sum(entry.size for entry in self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)


def _common(steps: Sequence[StepScores], forced: Mapping[int, int], rule: PickRule) -> int:
    """The number of steps that a run with these picks and this rule shares. At the fork the scores are the same and the
    pick differs, so that step counts if the pick is among its candidates.
    """
    for index, step in enumerate(steps):
        wanted = forced.get(index)
        if wanted is None and rule.draws_at(index):
            return index
        if wanted is None:
            wanted = next((each for each in step.token_ids if each not in rule.passed_ids), None)
        if wanted != step.picked_id:
            return index + (wanted in step.token_ids)
    return len(steps)


def _repicked(step: StepScores, token_id: int | None, top_k: int, rule: PickRule) -> StepScores:
    """A step of `_common` cut to `top_k`, with another pick, or with the rule's (None)."""
    picked, is_end = None, token_id is None and step.token_ids[0] in rule.passed_ids
    if is_end:
        token_id = next(each for each in step.token_ids if each not in rule.passed_ids)
    if token_id is not None and step.picked and step.picked.token_id == token_id:
        picked = step.picked
    elif token_id is not None:
        rank = step.token_ids.index(token_id)
        picked = ScoredToken(token_id, step.logprobs[rank], rank)
    ids, logprobs = step.token_ids[:top_k], step.logprobs[:top_k]
    return replace(step, token_ids=ids, logprobs=logprobs, picked=picked, draw=None, past_end=is_end)
