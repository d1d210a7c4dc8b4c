"""The scheduler: which sequences of one network join the batch, and which prompts are read next.

Owns the order of arrival and the plan of a round: which prompts are read and how far, which sequences share the pass,
and which have a pass of their own. It is a pure function of its state: no thread, no tensor, no clock. `rounds` carries
the plans out.

- **Prefill is chunked** while several sequences are present. The oldest prompt gets a chunk in every round, so that it
  always finishes. The rest of the round's ids goes to the shortest prompts, so that a long prompt does not delay a
  short one. Two long prompts do not share a round: every step of the others would take twice as long.
- **Whole short prompts are read together** in one pass where a network can, because a pass over a few ids costs nearly
  as much as one over many.
- **Sequences share a pass** if there are at least `fewest_rows` of them (then one pass for all is faster than one for
  each), at most `max_rows`, and enough memory. The others decode alone.
- **A shared pass that failed** is not tried again before all present sequences have ended. If it changed a number, it
  is never tried again.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from decoding.engines.batching.sequence import SequenceStatus, TokenSequence

MAX_ROWS = 32
PREFILL_CHUNK = 128
"""The most ids of a prompt that one pass reads while other sequences wait: half of a round's ids, so that the oldest
prompt, however long, leaves room for a short one.
"""
IDS_PER_ROUND = 256
LONG_PROMPT = 512
"""A prompt with more unread ids than this is read only when it is the oldest."""
SHORT_PROMPT = 32
"""A prompt shorter than this counts as this many ids, because a pass over it alone costs little less."""


@dataclass(frozen=True, slots=True)
class Limits:
    max_rows: int = MAX_ROWS
    max_read: int | None = 512
    """The most ids of a prompt that one pass reads for a single sequence; None: a prompt is always read in one pass."""
    chunk: int = PREFILL_CHUNK
    ids_per_round: int = IDS_PER_ROUND
    can_share: bool = True
    can_read_together: bool = False
    """Whether one pass can read several prompts."""


@dataclass(frozen=True, slots=True)
class Round:
    """What the worker does next, in this order: one pass reads the whole prompts of `together`, `prefill` reads a
    number of ids of each of the others, `leave` and `join` change the batch, then one pass decodes all `rows`, and one
    pass each decodes those of `alone`.
    """

    together: tuple[TokenSequence, ...] = ()
    prefill: tuple[tuple[TokenSequence, int], ...] = ()
    leave: tuple[TokenSequence, ...] = ()
    join: tuple[TokenSequence, ...] = ()
    rows: tuple[TokenSequence, ...] = ()
    alone: tuple[TokenSequence, ...] = ()


class Scheduler:
    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._may_share, self._share_again = limits.can_share, True
        self.sequences: list[TokenSequence] = []
        """The sequences that are not finished, in order of arrival."""

    def add(self, sequence: TokenSequence) -> None:
        self.sequences.append(sequence)

    def finish(self, sequence: TokenSequence) -> None:
        sequence.status = SequenceStatus.FINISHED
        self.sequences.remove(sequence)
        if not self.sequences:
            self._share_again = True

    def ended(self, end_ids: Collection[int]) -> list[TokenSequence]:
        """The sequences that have ended, or that no reader waits for any more."""
        return [sequence for sequence in self.sequences if sequence.is_done(end_ids)]

    def batch_failed(self, *, changes_numbers: bool) -> None:
        """Record that the shared pass raised: its sequences are read again from the start, each alone."""
        self._share_again = False
        self._may_share = self._may_share and not changes_numbers
        for sequence in self._with_status(SequenceStatus.IN_BATCH):
            sequence.restart()

    @property
    def is_sharing(self) -> bool:
        return self._may_share and self._share_again

    def plan(self, has_room: Callable[[Sequence[int]], bool], fewest_rows: int = 2) -> Round:
        """The next round. `has_room` says whether the batch has memory for more sequences of these lengths. From
        `fewest_rows` sequences on, a shared pass is faster; they are fewer while a network has weights for a crowd.
        """
        rows, alone = self._with_status(SequenceStatus.IN_BATCH), self._with_status(SequenceStatus.ALONE)
        join: list[TokenSequence] = []
        leave: list[TokenSequence] = []
        if self.is_sharing and len(rows) + len(alone) >= fewest_rows:
            join = alone[: self._limits.max_rows - len(rows)]
            while join and not has_room([sequence.length for sequence in join]):
                join.pop()
            if len(rows) + len(join) < fewest_rows:
                join = []
        if len(rows) + len(join) < fewest_rows:
            leave, rows = rows, []
        alone = [sequence for sequence in alone if sequence not in join]
        prefill = self._prefill()
        together = self._together(prefill)
        return Round(
            together=tuple(together),
            prefill=tuple((sequence, count) for sequence, count in prefill if sequence not in together),
            leave=tuple(leave),
            join=tuple(join),
            rows=(*rows, *join),
            alone=(*leave, *alone),
        )

    def _prefill(self) -> list[tuple[TokenSequence, int]]:
        waiting = [sequence for sequence in self._with_status(SequenceStatus.WAITING) if sequence.wanted_steps]
        if len(self.sequences) == 1:
            return [(sequence, self._chunk_size(sequence, alone=True)) for sequence in waiting]
        chosen: list[tuple[TokenSequence, int]] = []
        ids = self._limits.ids_per_round
        shorter = [sequence for sequence in waiting[1:] if len(sequence.unread) <= LONG_PROMPT]
        for sequence in [*waiting[:1], *sorted(shorter, key=lambda sequence: len(sequence.unread))]:
            if ids <= 0:
                break
            chunk = self._chunk_size(sequence, alone=False)
            chosen.append((sequence, chunk))
            ids -= chunk if self._limits.can_read_together else max(chunk, SHORT_PROMPT)
        return chosen

    def _together(self, prefill: Sequence[tuple[TokenSequence, int]]) -> list[TokenSequence]:
        """Those whose whole prompt is read in this round, shortest first, as far as a pass that is as wide as the
        longest of them has room. One prompt alone needs no shared pass.
        """
        if not self._limits.can_read_together:
            return []
        whole = [sequence for sequence, count in prefill if sequence.cache is None and count == len(sequence.unread)]
        whole.sort(key=lambda sequence: len(sequence.unread))
        while whole and len(whole) * len(whole[-1].unread) > self._limits.ids_per_round:
            whole.pop()
        return whole if len(whole) > 1 else []

    def _chunk_size(self, sequence: TokenSequence, *, alone: bool) -> int:
        if self._limits.max_read is None:
            return len(sequence.unread)
        most = self._limits.max_read if alone else min(self._limits.chunk, self._limits.max_read)
        return min(len(sequence.unread), most)

    def _with_status(self, status: SequenceStatus) -> list[TokenSequence]:
        return [sequence for sequence in self.sequences if sequence.status is status]
