"""Rows that share passes: see `decoding.engines.network.RunningBatch`.

Owns where each row's keys and values lie, and which session computes how many rows. Rows have lengths of their own; the
first places of the buffers are in use, so a row that leaves is overwritten by the last. Knows no scheduler, no thread.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from decoding.engines.onnx.cache import OnnxCache, room_for, widened
from decoding.engines.onnx.crowd import Crowd
from decoding.engines.onnx.session import BoundPass, Floats, Session


class Sessions(Protocol):
    """What a batch needs of its network."""

    session: Session
    crowd: Crowd | None


class OnnxBatch:
    def __init__(self, network: Sessions, max_rows: int) -> None:
        self._session, self._crowd, self._max_rows = network.session, network.crowd, max_rows
        self._names: list[int] = []  # of the rows, by place
        self._lengths: list[int] = []  # what each has read, by place
        self._next_name = 0
        self._buffers: Floats = self._session.new_buffers(0, 0)
        self._shared: tuple[int, Session, BoundPass] | None = None

    def bytes_to_insert(self, lengths: Sequence[int]) -> int:
        rows, width = self._needed(lengths)
        return 0 if self._has_room(rows, width) else _spare(rows) * room_for(width) * self._session.bytes_per_token

    def insert(self, cache: OnnxCache) -> int:
        self._reserve(*self._needed([cache.length]))
        place = len(self._names)
        self._buffers[:, place, :, : cache.length] = cache.buffers[:, 0, :, : cache.length]
        self._names.append(self._next_name)
        self._lengths.append(cache.length)
        self._next_name += 1
        return self._names[-1]

    def remove(self, row: int) -> OnnxCache:
        place, last = self._names.index(row), len(self._names) - 1
        length, here = self._lengths[place], self._buffers[:, place : place + 1]
        # No wider than what was read: most rows leave because they have ended, and then lie there for branches.
        cache = OnnxCache(self._session, widened(self._session, here, length, length), length)
        if place != last:
            kept = self._lengths[last]
            self._buffers[:, place, :, :kept] = self._buffers[:, last, :, :kept]
            self._names[place], self._lengths[place] = self._names[last], kept
        self._names.pop()
        self._lengths.pop()
        rows, width = self._needed(())
        if 4 * rows <= self._buffers.shape[1]:  # a crowd that has gone leaves no memory behind
            self._lay_out(_spare(rows), room_for(width) if rows else 0)
        return cache

    def step(self, ids: Mapping[int, int]) -> Mapping[int, Floats]:
        self._reserve(*self._needed(()))
        unread = np.array([[ids[name]] for name in self._names], np.int64)  # (rows, 1)
        count = len(self._names)
        session = self._crowd.session(count) if self._crowd else None
        logits = self._pass(count, session or self._session).run(unread, self._lengths, [0])  # (rows, 1, vocabulary)
        self._lengths = [length + 1 for length in self._lengths]
        return dict(zip(self._names, logits[:, 0], strict=True))

    def _pass(self, count: int, session: Session) -> BoundPass:
        if self._shared is None or self._shared[:2] != (count, session):
            self._shared = (count, session, BoundPass(session, self._buffers[:, :count]))
        return self._shared[2]

    def _needed(self, lengths: Sequence[int]) -> tuple[int, int]:
        """Rows, and the width that a pass over them needs, once texts of these lengths have joined."""
        everyone = [*self._lengths, *lengths]
        return len(everyone), max(everyone, default=0) + 1

    def _has_room(self, rows: int, width: int) -> bool:
        _, rows_here, _, width_here, _ = self._buffers.shape
        return bool(rows <= rows_here and width <= width_here)

    def _reserve(self, rows: int, width: int) -> None:
        if not self._has_room(rows, width):
            self._lay_out(_spare(rows), room_for(width))

    def _lay_out(self, rows: int, width: int) -> None:
        """New buffers; what is in the old ones moves."""
        made = self._session.new_buffers(rows, width)
        for place, length in enumerate(self._lengths):
            made[:, place, :, :length] = self._buffers[:, place, :, :length]
        self._buffers = made
        self._shared = None


def _spare(rows: int) -> int:
    """Rows come one by one, so there is room for a power of two of them."""
    return 1 << (rows - 1).bit_length() if rows else 0
