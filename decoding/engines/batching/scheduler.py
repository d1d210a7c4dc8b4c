"""Who reads next: the scheduler of one network's sequences.

Owns the order of arrival and the plan of a round: which prompts are read and how far, which sequences share the pass,
which have one of their own. It is a function of what it is told: no thread, no tensor, no clock. `worker` carries the
plans out.

- **Prompts** are read in pieces while others wait. The oldest prompt has a piece in every round, so that it comes to
  its end; what is left of the round's ids goes to the shortest, so that a long prompt does not keep a short one
waiting.
- **Sharing** begins where a pass for all is faster than one for each (`fewest_rows`), has room for `max_rows`, and
  finds the memory. Whoever finds no room decodes alone. A sequence that is left over decodes alone, as if nobody had
been here.
- **A shared pass that failed** is not tried again until all who are here have ended; one that changed a number, never.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from decoding.engines.batching.sequence import SequenceStatus, TokenSequence

MAX_ROWS = 32
PIECE = 128
"""The most ids that one pass reads of a prompt while others wait: half of a round's, so that the oldest prompt, however
long, leaves room for a short one.
"""
IDS_PER_ROUND = 256
SHORT_PROMPT = 32
"""A shorter prompt counts for so many ids: it costs little less."""


@dataclass(frozen=True, slots=True)
class Limits:
    max_rows: int = MAX_ROWS
    fewest_rows: int = 2
    max_read: int | None = 512
    """The most ids that one pass reads of a prompt while nobody else is here; None: prompts are read in one pass."""
    piece: int = PIECE
    ids_per_round: int = IDS_PER_ROUND
    can_share: bool = True


@dataclass(frozen=True, slots=True)
class Round:
    """What is done next, in this order: `prefill` reads so many ids of each prompt, `leave` and `join` change the
    batch, then there is one pass for `rows`, and one for each of `alone`.
    """

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
        """Those that are not finished, in order of arrival."""

    def add(self, sequence: TokenSequence) -> None:
        self.sequences.append(sequence)

    def finish(self, sequence: TokenSequence) -> None:
        sequence.status = SequenceStatus.FINISHED
        self.sequences.remove(sequence)
        if not self.sequences:
            self._share_again = True

    def done(self, end_ids: Collection[int]) -> list[TokenSequence]:
        """The sequences that nobody waits for any more, or that have ended."""
        return [sequence for sequence in self.sequences if sequence.is_done(end_ids)]

    def batch_failed(self, *, changes_numbers: bool) -> None:
        """The shared pass raised: its sequences are read anew, alone."""
        self._share_again = False
        self._may_share = self._may_share and not changes_numbers
        for sequence in self._with(SequenceStatus.IN_BATCH):
            sequence.restart()

    @property
    def is_sharing(self) -> bool:
        return self._may_share and self._share_again

    def plan(self, has_room: Callable[[Sequence[int]], bool]) -> Round:
        """The next round. `has_room` says whether sequences of these lengths find memory in the batch."""
        rows, alone = self._with(SequenceStatus.IN_BATCH), self._with(SequenceStatus.ALONE)
        join: list[TokenSequence] = []
        leave: list[TokenSequence] = []
        if self.is_sharing and len(rows) + len(alone) >= self._limits.fewest_rows:
            join = alone[: self._limits.max_rows - len(rows)]
            while join and not has_room([sequence.length for sequence in join]):
                join.pop()
            if len(rows) + len(join) < self._limits.fewest_rows:
                join = []
        if len(rows) + len(join) < self._limits.fewest_rows:
            leave, rows = rows, []
        alone = [sequence for sequence in alone if sequence not in join]
        return Round(
            prefill=tuple(self._prefill()),
            leave=tuple(leave),
            join=tuple(join),
            rows=(*rows, *join),
            alone=(*leave, *alone),
        )

    def _prefill(self) -> list[tuple[TokenSequence, int]]:
        waiting = [sequence for sequence in self._with(SequenceStatus.WAITING) if sequence.wanted]
        if len(self.sequences) == 1:
            return [(sequence, self._piece(sequence, alone=True)) for sequence in waiting]
        chosen: list[tuple[TokenSequence, int]] = []
        ids = self._limits.ids_per_round
        for sequence in [*waiting[:1], *sorted(waiting[1:], key=lambda sequence: len(sequence.unread))]:
            if ids <= 0:
                break
            piece = self._piece(sequence, alone=False)
            chosen.append((sequence, piece))
            ids -= max(piece, SHORT_PROMPT)
        return chosen

    def _piece(self, sequence: TokenSequence, *, alone: bool) -> int:
        if self._limits.max_read is None:
            return len(sequence.unread)
        most = self._limits.max_read if alone else min(self._limits.piece, self._limits.max_read)
        return min(len(sequence.unread), most)

    def _with(self, status: SequenceStatus) -> list[TokenSequence]:
        return [sequence for sequence in self.sequences if sequence.status is status]
