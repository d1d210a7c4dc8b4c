"""A fair lock: one forward pass at a time, first come, first served.

Owns the queue of threads before a network. The batch, a beam search, a scored text and a proof take the lock for one
pass at a time, so none waits longer than one pass of each of the others. Knows no run and no cache.
"""

import functools
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from decoding.cancellation import raise_if_cancelled
from decoding.engines.network_protocol import Cache, Logits, Network, RunningBatch
from decoding.record.step import StepScores


class FairLock:
    """A reentrant lock that threads get in the order in which they ask.

    `threading.Lock` promises no order: a thread that releases it and asks again at once would nearly always get it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner: int | None = None
        self._depth = 0
        self._waiting: deque[tuple[int, threading.Event]] = deque()

    def __enter__(self) -> None:
        me = threading.get_ident()
        with self._lock:
            if self._owner in (None, me):
                self._owner, self._depth = me, self._depth + 1
                return
            mine = threading.Event()
            self._waiting.append((me, mine))
        mine.wait()  # `__exit__` hands the lock over without releasing it in between

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._depth -= 1
            if self._depth:
                return
            self._owner = None
            if self._waiting:
                self._owner, following = self._waiting.popleft()
                self._depth = 1
                following.set()


class FairNetwork:
    """A network whose passes hold the lock. A pass for a visitor who has left raises WorkCancelledError instead."""

    def __init__(self, network: Network, lock: FairLock) -> None:
        self._network, self._lock = network, lock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)  # facts need no lock

    def read(self, token_ids: Sequence[int], cache: Cache | None, *, last: int = 1) -> tuple[Any, Cache]:
        raise_if_cancelled()
        with self._lock:
            return self._network.read(token_ids, cache, last=last)

    def read_layers(self, token_ids: Sequence[int], cache: Cache | None) -> Any:
        raise_if_cancelled()
        with self._lock:
            return self._network.read_layers(token_ids, cache)

    def read_texts(self, texts: Sequence[Sequence[int]]) -> Any:
        raise_if_cancelled()
        network: Any = self._network  # only those have the method whose `max_reread` is not 0
        with self._lock:
            return network.read_texts(texts)

    def scores(self, logits: Logits, top_k: int, picked_id: int | None = None) -> StepScores:
        return self._network.scores(logits, top_k, picked_id)

    def new_batch(self, max_rows: int) -> RunningBatch | None:
        batch = self._network.new_batch(max_rows)
        return batch and _FairBatch(batch, self._lock)


class _FairBatch:
    def __init__(self, batch: RunningBatch, lock: FairLock) -> None:
        self._batch, self._lock = batch, lock
        self.bytes_to_insert, self.insert, self.remove = batch.bytes_to_insert, batch.insert, batch.remove

    def step(self, ids: Mapping[int, int]) -> Mapping[int, Logits]:
        with self._lock:
            return self._batch.step(ids)


def serialize_forward(network: Any, lock: FairLock) -> None:
    """Make every call of a transformers network's `forward` hold the lock, and raise WorkCancelledError for a visitor
    who has left. This includes the calls of transformers' own searches on a shallow copy of the network.
    """
    forward = network.forward

    @functools.wraps(forward)  # transformers reads its signature
    def locked_forward(*args: Any, **options: Any) -> Any:
        raise_if_cancelled()
        with lock:
            return forward(*args, **options)

    network.forward = locked_forward
