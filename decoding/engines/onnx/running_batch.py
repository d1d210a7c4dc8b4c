"""The running batch: rows that share passes, see `decoding.engines.network_protocol.RunningBatch`.

Owns where each row's keys and values are, and which session computes how many rows. Each row has its own length. The
first places of the buffers are in use: the last row moves to the place of one that leaves. Knows no scheduler and no
thread.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from decoding.engines.onnx.float32_session import Float32Session
from decoding.engines.onnx.kv_cache import OnnxCache, padded_width, resized
from decoding.engines.onnx.session import BoundPass, Floats, Session


class OnnxBatch:
    def __init__(self, session: Session, float32_session: Float32Session | None) -> None:
        self._session, self._float32_session = session, float32_session
        self._row_ids: list[int] = []  # by place in the buffers
        self._lengths: list[int] = []  # filled positions, by place
        self._next_row_id = 0
        self._buffers: Floats = self._session.new_buffers(0, 0)
        self._shared: tuple[int, Session, BoundPass] | None = None

    def bytes_to_insert(self, lengths: Sequence[int]) -> int:
        rows, width = self._needed(lengths)
        return 0 if self._has_room(rows, width) else _padded(rows) * padded_width(width) * self._session.bytes_per_token

    def insert(self, cache: OnnxCache) -> int:
        self._reserve(*self._needed([cache.length]))
        place = len(self._row_ids)
        self._buffers[:, place, :, : cache.length] = cache.buffers[:, 0, :, : cache.length]
        self._row_ids.append(self._next_row_id)
        self._lengths.append(cache.length)
        self._next_row_id += 1
        return self._row_ids[-1]

    def remove(self, row: int) -> OnnxCache:
        place, last = self._row_ids.index(row), len(self._row_ids) - 1
        length, here = self._lengths[place], self._buffers[:, place : place + 1]
        # Only as wide as what was read: most rows leave because they have ended, and are then kept for branches.
        try:
            cache = OnnxCache(self._session, resized(self._session, here, length, length), length)
        finally:
            if place != last:
                kept = self._lengths[last]
                self._buffers[:, place, :, :kept] = self._buffers[:, last, :, :kept]
                self._row_ids[place], self._lengths[place] = self._row_ids[last], kept
            self._row_ids.pop()
            self._lengths.pop()
        rows, width = self._needed(())
        if 4 * rows <= self._buffers.shape[1]:  # release the memory after many rows have left
            self._reallocate(_padded(rows), padded_width(width) if rows else 0)
        return cache

    def step(self, ids: Mapping[int, int]) -> Mapping[int, Floats]:
        self._reserve(*self._needed(()))
        unread = np.array([ids[name] for name in self._row_ids], np.int64)  # (rows,)
        count = len(self._row_ids)
        session = self._float32_session.session(count) if self._float32_session else None
        logits = self._pass(count, session or self._session).run(
            unread, self._lengths, range(count)
        )  # (rows, vocabulary)
        self._lengths = [length + 1 for length in self._lengths]
        return dict(zip(self._row_ids, logits, strict=True))

    def _pass(self, count: int, session: Session) -> BoundPass:
        if self._shared is None or self._shared[:2] != (count, session):
            self._shared = (count, session, BoundPass(session, self._buffers[:, :count]))
        return self._shared[2]

    def _needed(self, lengths: Sequence[int]) -> tuple[int, int]:
        """The number of rows and the width of a pass over them, once rows of these lengths have been inserted."""
        all_lengths = [*self._lengths, *lengths]
        return len(all_lengths), max(all_lengths, default=0) + 1

    def _has_room(self, rows: int, width: int) -> bool:
        _, rows_here, _, width_here, _ = self._buffers.shape
        return bool(rows <= rows_here and width <= width_here)

    def _reserve(self, rows: int, width: int) -> None:
        if not self._has_room(rows, width):
            self._reallocate(_padded(rows), padded_width(width))

    def _reallocate(self, rows: int, width: int) -> None:
        """Allocate new buffers and copy the rows into them."""
        made = self._session.new_buffers(rows, width)
        for place, length in enumerate(self._lengths):
            made[:, place, :, :length] = self._buffers[:, place, :, :length]
        self._buffers = made
        self._shared = None


def _padded(rows: int) -> int:
    """Rows are inserted one by one, so the buffers have room for a power of two of them."""
    return 1 << (rows - 1).bit_length() if rows else 0
