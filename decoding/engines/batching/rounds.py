"""Rounds: the passes over the network that the scheduler plans, and what they do to each sequence.

Owns the batch and the caches of sequences under way. Knows no thread and no reader: the worker calls it, one round
after another, and `changed` guards what readers see.

A pass that fails ends its own sequence. A shared pass that fails is not tried again; its sequences are read from the
start, each alone.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from decoding.engines.batching.scheduler import Limits, Round, Scheduler
from decoding.engines.batching.sequence import SequenceStatus, TokenSequence
from decoding.engines.local_engine import LocalEngine
from decoding.engines.network_protocol import Logits, RunningBatch
from decoding.errors import ModelError
from decoding.messages import Message
from decoding.models.resources import bytes_under_limit, is_out_of_memory
from decoding.record.step import StepScores
from decoding.sampling import read_picked

_log = logging.getLogger(__name__)


class Rounds:
    """Rounds on the network, with the end-of-text ids and the prefix cache of `engine`.

    `changed` is the condition that is notified of each step, and whose lock guards the scheduler. `limits` bound the
    batch and the rounds, within what the network can do; `free` returns the free memory in bytes (None: unknown).
    """

    def __init__(
        self, engine: LocalEngine, changed: threading.Condition, *, limits: Limits, free: Callable[[], int | None]
    ) -> None:
        self._engine, self._network, self._limits, self._free = engine, engine.network, limits, free
        self._changed = changed
        self._batch: RunningBatch | None = None
        self.scheduler = self._new_scheduler()

    def plan(self) -> Round | None:
        """The next round; None if there is nothing to do. The caller holds the lock."""
        for sequence in self.scheduler.ended(self._engine.end_ids):
            self._finish(sequence)
        if not self.scheduler.sequences:
            self._batch = None
            return None
        return self.scheduler.plan(self._has_room, self._network.fewest_rows)

    def carry_out(self, plan: Round) -> None:
        """Compute a planned round. The caller does not hold the lock."""
        self._read_together([sequence for sequence in plan.together if sequence.wanted_steps])
        for sequence, count in plan.prefill:
            if sequence.wanted_steps:  # its reader may have left in this round
                self._read(sequence, count)
        for sequence in plan.leave:
            self._remove(sequence)
        in_batch = [sequence for sequence in plan.rows if sequence not in plan.join or self._insert(sequence)]
        if in_batch:
            self._step_batch(in_batch)
        for sequence in (*plan.alone, *plan.join):
            if sequence.status is SequenceStatus.ALONE:  # those that joined or have to be read again are not
                self._read(sequence, len(sequence.unread))

    def end_all(self, error: Exception) -> None:
        """End all sequences with this error, and begin anew. The caller holds the lock."""
        self._batch = None
        for sequence in list(self.scheduler.sequences):
            sequence.error = error
            self.scheduler.finish(sequence)
        self.scheduler = self._new_scheduler()
        self._changed.notify_all()

    def _has_room(self, lengths: Sequence[int]) -> bool:
        """Whether sequences of these lengths may join the batch: twice the memory they need has to be free."""
        if self._batch is None:
            self._batch = self._network.new_batch(self._limits.max_rows)
        free = self._free()
        free = bytes_under_limit() if free is None else min(free, bytes_under_limit())
        return self._batch is not None and 2 * self._batch.bytes_to_insert(lengths) <= free

    def _read_together(self, sequences: Sequence[TokenSequence]) -> None:
        """Read the whole prompts of these sequences in one pass; if that fails, each in a pass of its own."""
        if not sequences:
            return
        network: Any = self._network  # a plan has such prompts only for a network with this method
        try:
            logits, caches = network.read_texts([sequence.unread for sequence in sequences])
        except Exception:
            _log.warning("a pass over several prompts failed; they are read one by one", exc_info=True)
            for sequence in sequences:
                self._read(sequence, len(sequence.unread))
            return
        for sequence, cache in zip(sequences, caches, strict=True):
            sequence.cache, sequence.unread = cache, []
        self._append(zip(sequences, logits, strict=True))

    def _read(self, sequence: TokenSequence, count: int) -> None:
        """Read the next `count` unread ids of a sequence in a pass of its own."""
        now, sequence.unread = sequence.unread[:count], sequence.unread[count:]
        try:
            logits, sequence.cache = self._network.read(now, sequence.cache)
        except Exception as error:
            self._fail(sequence, error)
            return
        if not sequence.unread:
            self._append([(sequence, logits[-1])])

    def _insert(self, sequence: TokenSequence) -> bool:
        assert self._batch
        try:
            sequence.row = self._batch.insert(sequence.cache)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            _log.warning("no memory for a larger batch; the run goes on alone")
            return False
        sequence.cache, sequence.status = None, SequenceStatus.IN_BATCH
        return True

    def _remove(self, sequence: TokenSequence) -> None:
        """Take a sequence out of the batch. Without memory for a cache of its own it is read again from the start."""
        assert self._batch
        try:
            sequence.cache = self._batch.remove(sequence.row)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            _log.warning("no memory for the cache of a run that leaves the batch")
            sequence.restart()
            return
        sequence.row, sequence.status = -1, SequenceStatus.ALONE

    def _step_batch(self, sequences: Sequence[TokenSequence]) -> None:
        assert self._batch
        try:
            logits = self._batch.step({sequence.row: sequence.unread[0] for sequence in sequences})
        except Exception as error:
            _log.warning("a shared pass failed; its runs go on one by one", exc_info=True)
            with self._changed:
                self.scheduler.batch_failed(changes_numbers=isinstance(error, ModelError))
                self._batch = None
            return
        self._append([(sequence, logits[sequence.row]) for sequence in sequences])

    def _append(self, logits_of: Iterable[tuple[TokenSequence, Logits]]) -> None:
        """Add the step that a pass has decoded to each of its sequences.

        Readers are notified once, after all steps. Notified of each step, thirty readers would wake thirty times, and
        reading the logits of the other rows would take more than twice as long.
        """
        read: list[tuple[TokenSequence, StepScores]] = []
        for sequence, logits in logits_of:
            index = len(sequence.steps)
            forced = sequence.forced.get(index)
            try:
                step = read_picked(self._network, logits, sequence.top_k, forced, index=index, rule=sequence.rule)
            except Exception as error:
                self._fail(sequence, error)
                continue
            read.append((sequence, step))
        with self._changed:
            for sequence, step in read:
                sequence.append(step)
                if sequence.is_done(self._engine.end_ids):
                    self._finish(sequence)
            self._changed.notify_all()

    def _fail(self, sequence: TokenSequence, error: Exception) -> None:
        if is_out_of_memory(error):
            error = ModelError(Message("memory.run"), field="prompt")
        with self._changed:
            sequence.error = error
            self._finish(sequence)
            self._changed.notify_all()

    def _finish(self, sequence: TokenSequence) -> None:
        """End a sequence. The caller holds the lock, so that an equal request finds the sequence here or in the prefix
        cache. Without memory nothing of it is kept.
        """
        if sequence.status is SequenceStatus.IN_BATCH:
            self._remove(sequence)
        if sequence.error is None:
            self._engine.prefix_cache.keep(sequence.prompt_ids, sequence.steps, sequence.cache, top_k=sequence.top_k)
        sequence.cache = None
        self.scheduler.finish(sequence)

    def _new_scheduler(self) -> Scheduler:
        network = self._network
        return Scheduler(
            replace(
                self._limits,
                max_read=network.max_read,
                can_share=network.new_batch(self._limits.max_rows) is not None,
                can_read_together=network.max_reread > 0,
            )
        )
