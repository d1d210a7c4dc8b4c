"""The worker: the thread that decodes the sequences of many readers, round by round.

Owns the thread and the readers, who wait for steps and never touch the network. `_lock` guards what they share with the
thread. `rounds` computes.

- **Equal requests** share one sequence: a later reader gets its steps from the first one on, and a reader who wants
  more steps extends it. Decoded steps stay in the engine's prefix cache, within its limits.
- **Leaving.** A sequence without readers is dropped before the next round.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence

from decoding.cancellation import raise_if_cancelled
from decoding.engines.batching.rounds import Rounds
from decoding.engines.batching.scheduler import Limits
from decoding.engines.batching.sequence import SequenceStatus, TokenSequence
from decoding.engines.local_engine import LocalEngine
from decoding.models.allocator_settings import trim_memory
from decoding.models.resources import free_memory
from decoding.record.pick_rule import ARGMAX, PickRule
from decoding.record.step import StepScores

_log = logging.getLogger(__name__)
_CHECK_SECONDS = 0.2
"""How often a waiting reader checks whether its visitor has left."""


class Worker:
    """Decodes the sequences of many readers with the network, end-of-text ids and prefix cache of `engine`.

    `limits` bound the batch and its rounds, within what the network can do; `free` returns the free memory in bytes
    (None: unknown). `join`, `step` and `leave` are thread-safe.
    """

    def __init__(
        self, engine: LocalEngine, *, limits: Limits | None = None, free: Callable[[], int | None] = free_memory
    ) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._thread: threading.Thread | None = None
        self._rounds = Rounds(engine, self._changed, limits=limits or Limits(), free=free)
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
                self._start()  # before the sequence is added: it raises where no thread can be started
                self._rounds.scheduler.add(sequence)
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
            for sequence in self._rounds.scheduler.sequences:
                if sequence.can_serve(ids, forced, top_k, rule):
                    sequence.wanted_steps.append(steps)
                    self.reused += 1
                    return sequence
        return None

    def _start(self) -> None:
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="batch", daemon=True)
            thread.start()
            self._thread = thread

    # ---- the worker's own thread

    def _run(self) -> None:
        try:
            while self.run_round():
                pass
            trim_memory()  # caches of many sizes came and went
        except BaseException as error:  # a bug: end all sequences, so that no reader waits for ever
            _log.exception("the batch failed")
            with self._lock:
                self._thread = None
                self._rounds.end_all(RuntimeError(f"the batch failed: {error!r:.200}"))

    def run_round(self) -> bool:
        """Carry out one round. Returns False if there is nothing to do and the thread ends."""
        with self._lock:
            plan = self._rounds.plan()
            if plan is None:
                self._thread = None
                return False
        self._rounds.carry_out(plan)
        return True
