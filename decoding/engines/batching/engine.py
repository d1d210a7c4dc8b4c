"""The engine of many visitors: the plain engine of this process, its forward passes shared and taken in turn.

Owns nothing but the seam: `decoding.engines.batching.scheduler` decodes, but for a run alone where the plain engine
has a graph, and everything else is the plain engine's. Only the page
uses it; the library, the terminal and the benchmark keep the plain one, which has no thread.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from decoding.cancellation import check_left
from decoding.engines import NO_PICKS
from decoding.engines.batching.fair_lock import take_turns
from decoding.engines.batching.scheduler import Batch
from decoding.engines.torch.engine import LocalEngine
from decoding.engines.torch.threads import leave_a_core
from decoding.errors import ModelError
from decoding.models.resources import OUT_OF_MEMORY, is_out_of_memory
from decoding.record.step import StepScores


class SharedEngine:
    """See `decoding.engines.Engine`. Many threads may use it at once."""

    def __init__(self, engine: LocalEngine) -> None:
        self.info = engine.info
        self.vocabulary = engine.vocabulary
        self.vocabulary_size = engine.vocabulary_size
        self.context_length = engine.context_length
        self.max_top_k = engine.max_top_k
        self.end_ids = engine.end_ids
        self.beginning_id = engine.beginning_id
        self.network = engine.network
        self._engine = engine
        self._lock, self._runs = threading.Lock(), 0
        if engine.network.device.type == "cpu":
            leave_a_core(engine.network)
        take_turns(engine.network)
        self.batch = Batch(engine)

    def steps(
        self, token_ids: Sequence[int], *, max_new_tokens: int, top_k: int, forced: Mapping[int, int] = NO_PICKS
    ) -> Iterator[StepScores]:
        with self._lock:
            # The one place where the page chooses: a graph is for a run alone, whoever comes meanwhile shares passes.
            is_alone, self._runs = self._engine.graph is not None and self._runs == 0, self._runs + 1
        steps = self._alone if is_alone else self._together
        try:
            yield from steps(token_ids, max_new_tokens=max_new_tokens, top_k=top_k, forced=forced)
        finally:
            with self._lock:
                self._runs -= 1

    def _alone(
        self, token_ids: Sequence[int], *, max_new_tokens: int, top_k: int, forced: Mapping[int, int]
    ) -> Iterator[StepScores]:
        """By the plain engine, which has a graph."""
        run: Any = self._engine.steps(token_ids, max_new_tokens=max_new_tokens, top_k=top_k, forced=forced)
        try:
            for readout in run:
                yield readout
                check_left()
        except Exception as error:
            if is_out_of_memory(error):
                raise ModelError(OUT_OF_MEMORY, field="prompt") from error
            raise
        finally:
            run.close()  # so that the graph is free again at once

    def _together(
        self, token_ids: Sequence[int], *, max_new_tokens: int, top_k: int, forced: Mapping[int, int]
    ) -> Iterator[StepScores]:
        """In the batch."""
        room = max_new_tokens
        if self.context_length is not None:
            room = min(room, self.context_length - len(token_ids))
        if room <= 0:
            return
        picks = {step: token_id for step, token_id in forced.items() if step < room}
        text = self.batch.join(token_ids, steps=room, top_k=top_k, forced=picks)
        try:
            for index in range(room):
                readout = self.batch.readout(text, index)
                if readout is None:
                    return
                yield replace(readout, token_ids=readout.token_ids[:top_k], logprobs=readout.logprobs[:top_k])
        finally:
            self.batch.leave(text, steps=room)

    def score(self, token_ids: Sequence[int], continuation_ids: Sequence[int], *, top_k: int) -> Iterator[StepScores]:
        return self._engine.score(token_ids, continuation_ids, top_k=top_k)
