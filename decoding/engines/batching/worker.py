"""The worker: the thread that carries out the scheduler's rounds on a network.

Owns the thread, the batch and the caches. Readers wait for steps and never touch the network; `_lock` guards what they
share with the worker.

- **Equal requests** share one sequence: a later reader gets its steps from the first one on, and a reader who wants
  more steps extends it. Decoded steps stay in the engine's prefix cache, within its limits.
- **Leaving.** A sequence without readers is dropped before the next round.
- **A pass that fails** ends its own sequence. A shared pass that fails is not tried again; its sequences are read from
  the start, each alone.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from decoding.cancellation import raise_if_cancelled
from decoding.engines.batching.scheduler import MAX_ROWS, Limits, Scheduler
from decoding.engines.batching.sequence import SequenceStatus, TokenSequence
from decoding.engines.local import LocalEngine
from decoding.engines.network import Logits, RunningBatch
from decoding.errors import ModelError
from decoding.messages import Message
from decoding.models.malloc import trim_memory
from decoding.models.resources import bytes_under_limit, free_memory, is_out_of_memory
from decoding.record.picking import ARGMAX, PickRule
from decoding.record.step import StepScores
from decoding.sampling import read_picked

_log = logging.getLogger(__name__)
_CHECK_SECONDS = 0.2
"""How often a waiting reader checks whether its visitor has left."""


class Worker:
    """Decodes the sequences of many readers with the network, end-of-text ids and prefix cache of `engine`.

    `max_rows` bounds the batch; `free` returns the free memory in bytes (None: unknown). `join`, `step` and `leave` are
    thread-safe.
    """

    def __init__(
        self, engine: LocalEngine, *, max_rows: int = MAX_ROWS, free: Callable[[], int | None] = free_memory
    ) -> None:
        self._engine, self._network, self._max_rows, self._free = engine, engine.network, max_rows, free
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._thread: threading.Thread | None = None
        self._batch: RunningBatch | None = None
        self._scheduler = self._new_scheduler()
        self.reused = 0
        """Readers that were served, in whole or in part, from the steps of another run."""

    # ---- readers

    def join(
        self, prompt_ids: Sequence[int], *, steps: int, top_k: int, forced: Mapping[int, int], rule: PickRule = ARGMAX
    ) -> TokenSequence:
        """Add a reader of the run from `prompt_ids` (shape: (ids,)) with `forced` picks, the others by `rule`, which
        waits for `steps` steps.

        Returns its sequence, which other readers may share, and which may hold more than `steps` steps, or fewer if the
        text ends. The caller reads it with `step` and must `leave` it. Does not wait and does not compute; an error of
        a pass is raised by `step`. Thread-safe.
        """
        ids = tuple(prompt_ids)
        if sequence := self._join_existing(ids, steps, top_k, forced, rule):
            return sequence
        cache = self._engine.prefix_cache
        recalled = cache.recall(ids, forced, max_new_tokens=steps, top_k=top_k, rule=rule)  # copies: no lock
        if sequence := self._join_existing(ids, steps, top_k, forced, rule):  # another reader was faster
            return sequence
        sequence = TokenSequence(ids, dict(forced), top_k, [steps], rule=rule)
        if recalled:
            sequence.resume(list(recalled.steps), recalled.cache)
        with self._lock:
            self.reused += recalled is not None
            if sequence.is_done(self._engine.end_ids):
                sequence.status = SequenceStatus.FINISHED
            else:
                self._scheduler.add(sequence)
                self._start()
        return sequence

    def step(self, sequence: TokenSequence, index: int) -> StepScores | None:
        """Wait for step `index` (from 0) of a sequence; None if the sequence ends before it. Raises what ended
        it, and WorkCancelledError if the reader's visitor has left.
        """
        with self._lock:
            while len(sequence.steps) <= index and sequence.status is not SequenceStatus.FINISHED:
                raise_if_cancelled()
                self._changed.wait(_CHECK_SECONDS)
            if index < len(sequence.steps):
                return sequence.steps[index]
            if sequence.error:
                raise sequence.error
            return None

    def leave(self, sequence: TokenSequence, *, steps: int) -> None:
        """Remove a reader that waited for `steps` steps. Thread-safe."""
        with self._lock:
            sequence.wanted_steps.remove(steps)

    def _join_existing(
        self, ids: tuple[int, ...], steps: int, top_k: int, forced: Mapping[int, int], rule: PickRule
    ) -> TokenSequence | None:
        with self._lock:
            for sequence in self._scheduler.sequences:
                if sequence.has_prefix_of(ids, forced, top_k, rule):
                    sequence.wanted_steps.append(steps)
                    self.reused += 1
                    return sequence
        return None

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="batch", daemon=True)
            self._thread.start()

    # ---- the worker's own thread

    def _run(self) -> None:
        try:
            while self.run_round():
                pass
            trim_memory()  # caches of many sizes came and went
        except BaseException as error:  # a bug: end all sequences, so that no reader waits for ever
            _log.exception("the batch failed")
            with self._lock:
                self._thread, self._batch = None, None
                for sequence in list(self._scheduler.sequences):
                    sequence.error = RuntimeError(f"the batch failed: {error!r:.200}")
                    self._scheduler.finish(sequence)
                self._scheduler = self._new_scheduler()
                self._changed.notify_all()

    def run_round(self) -> bool:
        """Carry out one round of the scheduler. Returns False if there is nothing to do and the thread ends."""
        with self._lock:
            for sequence in self._scheduler.ended(self._engine.end_ids):
                self._finish(sequence)
            if not self._scheduler.sequences:
                self._thread, self._batch = None, None
                return False
            plan = self._scheduler.plan(self._has_room)
        self._read_together([sequence for sequence in plan.together if sequence.wanted_steps])
        for sequence, count in plan.prefill:
            if sequence.wanted_steps:  # its reader may have left in this round
                self._read(sequence, count)
        for sequence in plan.leave:
            self._remove(sequence)
        in_batch = [sequence for sequence in plan.rows if sequence not in plan.join or self._insert(sequence)]
        if in_batch:
            self._step_batch(in_batch)
        for sequence in (*plan.alone, *(s for s in plan.join if s.status is SequenceStatus.ALONE)):
            self._read(sequence, len(sequence.unread))
        return True

    def _has_room(self, lengths: Sequence[int]) -> bool:
        """Whether sequences of these lengths may join the batch: twice the memory they need has to be free."""
        if self._batch is None:
            self._batch = self._network.new_batch(self._max_rows)
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
        for sequence, row, cache in zip(sequences, logits, caches, strict=True):
            sequence.cache, sequence.unread = cache, []
            self._append(sequence, row)

    def _read(self, sequence: TokenSequence, count: int) -> None:
        """Read the next `count` unread ids of a sequence in a pass of its own."""
        now, sequence.unread = sequence.unread[:count], sequence.unread[count:]
        try:
            logits, sequence.cache = self._network.read(now, sequence.cache)
        except Exception as error:
            self._fail(sequence, error)
            return
        if not sequence.unread:
            self._append(sequence, logits[-1])

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
        assert self._batch
        sequence.cache = self._batch.remove(sequence.row)
        sequence.row, sequence.status = -1, SequenceStatus.ALONE

    def _step_batch(self, sequences: Sequence[TokenSequence]) -> None:
        assert self._batch
        try:
            logits = self._batch.step({sequence.row: sequence.unread[0] for sequence in sequences})
        except Exception as error:
            _log.warning("a shared pass failed; its runs go on one by one", exc_info=True)
            with self._lock:
                self._scheduler.batch_failed(changes_numbers=isinstance(error, ModelError))
                self._batch = None
            return
        for sequence in sequences:
            self._append(sequence, logits[sequence.row])

    def _append(self, sequence: TokenSequence, logits: Logits) -> None:
        index = len(sequence.steps)
        forced = sequence.forced.get(index)
        try:
            step = read_picked(self._network, logits, sequence.top_k, forced, index=index, rule=sequence.rule)
        except Exception as error:
            self._fail(sequence, error)
            return
        with self._lock:
            sequence.append(step)
            if sequence.is_done(self._engine.end_ids):
                self._finish(sequence)
            self._changed.notify_all()

    def _fail(self, sequence: TokenSequence, error: Exception) -> None:
        if is_out_of_memory(error):
            error = ModelError(Message("memory.run"), field="prompt")
        with self._lock:
            sequence.error = error
            self._finish(sequence)
            self._changed.notify_all()

    def _finish(self, sequence: TokenSequence) -> None:
        """End a sequence. The caller holds the lock, so that an equal request finds the sequence here or in the prefix
        cache.
        """
        if sequence.status is SequenceStatus.IN_BATCH:
            self._remove(sequence)
        if sequence.error is None:
            self._engine.prefix_cache.keep(sequence.prompt_ids, sequence.steps, sequence.cache, top_k=sequence.top_k)
        sequence.cache = None
        self._scheduler.finish(sequence)

    def _new_scheduler(self) -> Scheduler:
        network = self._network
        return Scheduler(
            Limits(
                max_rows=self._max_rows,
                fewest_rows=max(2, network.fewest_rows),
                max_read=network.max_read,
                can_share=network.new_batch(self._max_rows) is not None,
                can_read_together=network.max_reread > 0,
            )
        )
