"""Branching: sequences that begin with one prompt and part, as the beams of a search do.

Owns their KV caches: which is copied, which goes on and which is dropped, and whether they share a pass. See
`decoding.beam.Rows`. Knows the protocol of a network, and no search. Every row has a cache of its own, a copy that no
other row changes, so that a row reads what it would read alone.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from decoding.cancellation import raise_if_cancelled
from decoding.engines.network_protocol import Cache, Network, RunningBatch
from decoding.errors import RequestError
from decoding.messages import Message
from decoding.models.devices import free_bytes_on
from decoding.record.step import StepScores


@dataclass(slots=True)
class _Row:
    """One sequence: all its ids, and its cache, or its name in the shared batch."""

    token_ids: tuple[int, ...]
    cache: Cache = None
    in_batch: int | None = None


class NetworkRows:
    """See `decoding.beam.Rows`. Not thread-safe. Raises WorkCancelledError between two passes if the visitor of the
    calling thread has left.
    """

    def __init__(self, network: Network, token_ids: Sequence[int], *, max_rows: int) -> None:
        self._network, self._max_rows = network, max_rows
        self._rows = [_Row(tuple(token_ids))]
        self._batch: RunningBatch | None = None
        self._may_share = True

    def begin(self, top_k: int) -> StepScores:
        return self._read_whole(self._rows[0], top_k)

    def advance(self, picks: Sequence[tuple[int, int]], top_k: int) -> list[StepScores]:
        self._rows = self._part([row for row, _ in picks])
        unread = [token_id for _, token_id in picks]
        for row, token_id in zip(self._rows, unread, strict=True):
            row.token_ids = (*row.token_ids, token_id)
        if self._joins_batch():
            try:
                return self._shared_pass(unread, top_k)
            except Exception:  # the batch and its caches are lost
                logging.getLogger(__name__).warning("beams cannot share a pass; each has its own", exc_info=True)
                self._batch, self._may_share = None, False
                return [self._read_whole(row, top_k) for row in self._rows]
        for row in self._rows:
            self._leave_batch(row)
        return [self._read(row, [token_id], top_k) for row, token_id in zip(self._rows, unread, strict=True)]

    def _part(self, parents: Sequence[int]) -> list[_Row]:
        """A row for each of these numbers of present rows. The others are dropped."""
        of: dict[int, list[_Row]] = {}
        for number, row in enumerate(self._rows):
            count = parents.count(number)
            if count != 1:
                self._leave_batch(row)
            # Copied before anything is read: a cache that has been read on is another one.
            copies = [_Row(row.token_ids, self._network.fork(row.cache)) for _ in range(count - 1)]
            of[number] = [row, *copies]
        return [of[number].pop() for number in parents]

    def _leave_batch(self, row: _Row) -> None:
        if row.in_batch is not None and self._batch is not None:
            row.cache, row.in_batch = self._batch.remove(row.in_batch), None

    def _joins_batch(self) -> bool:
        """Whether all rows share a pass from here on; then those that do not yet are inserted."""
        if not self._may_share or len(self._rows) < self._network.fewest_rows:
            return False
        if self._batch is None:
            self._batch = self._network.new_batch(self._max_rows)
            self._may_share = self._batch is not None
        return self._may_share

    def _shared_pass(self, unread: Sequence[int], top_k: int) -> list[StepScores]:
        assert self._batch
        for row in self._rows:
            if row.in_batch is None:
                row.in_batch, row.cache = self._batch.insert(row.cache), None
        raise_if_cancelled()
        names = [row.in_batch for row in self._rows if row.in_batch is not None]
        logits = self._batch.step(dict(zip(names, unread, strict=True)))
        return [self._network.scores(logits[name], top_k) for name in names]

    def _read_whole(self, row: _Row, top_k: int) -> StepScores:
        """Read a row from its beginning."""
        row.cache, row.in_batch = None, None
        return self._read(row, row.token_ids, top_k)

    def _read(self, row: _Row, token_ids: Sequence[int], top_k: int) -> StepScores:
        at_once = self._network.max_read or len(token_ids)
        logits: Any = None
        for start in range(0, len(token_ids), at_once):
            raise_if_cancelled()
            logits, row.cache = self._network.read(token_ids[start : start + at_once], row.cache)
        return self._network.scores(logits[-1], top_k)


def check_beam_memory(network: Network, *, device: str, vocabulary_size: int, tokens: int, num_beams: int) -> None:
    """Raises RequestError if `num_beams` sequences of `tokens` tokens do not fit into the free memory of a device."""
    free = free_bytes_on(device.split(":")[0])
    # The caches and their copies while beams swap places, and the logits of a pass.
    needed = 2 * num_beams * tokens * network.cache_bytes_per_token + 4 * num_beams * vocabulary_size * 4
    if free is not None and needed > free:
        raise RequestError(
            Message(
                "search.memory", beams=num_beams, tokens=f"{tokens:,}", needed=_gigabytes(needed), free=_gigabytes(free)
            ),
            field="beams",
        )


def _gigabytes(size: int) -> str:
    return f"{size / 2**30:,.1f} GiB"
