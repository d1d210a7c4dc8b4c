"""The batched engine: many runs share the forward passes of one local engine.

Owns the connection between a local engine, its worker and the lock of its passes; `worker` decodes. Only the page uses
it. The library, the terminal and the benchmark use the local engine, which has no thread.
"""

import weakref
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import Any

from decoding.beam import BeamStep
from decoding.engines.batching.fair_lock import FairLock, FairNetwork, serialize_forward
from decoding.engines.batching.worker import Worker
from decoding.engines.local_engine import LocalEngine
from decoding.engines.model_facts import EngineOfModel
from decoding.engines.network_protocol import Logits, Network
from decoding.record.pick_rule import ARGMAX, PickRule
from decoding.record.step import NO_PICKS, StepScores


class BatchedEngine(EngineOfModel):
    """See `decoding.engines.Engine`. Thread-safe: any number of runs may iterate `steps` at the same time."""

    def __init__(self, engine: LocalEngine) -> None:
        engine = copy(engine)  # the caller's own goes on without the lock
        super().__init__(engine)
        self._engine = engine
        self.lock = FairLock()
        """Code that runs the same weights in another way (the transformers reference) holds this lock for a pass."""
        engine.network = FairNetwork(engine.network, self.lock)
        self.worker = Worker(engine)
        self.reference = self._reference if engine.reference else None
        self._references: weakref.WeakSet[Any] = weakref.WeakSet()

    def steps(
        self,
        token_ids: Sequence[int],
        *,
        max_new_tokens: int,
        top_k: int,
        forced: Mapping[int, int] = NO_PICKS,
        rule: PickRule = ARGMAX,
    ) -> Iterator[StepScores]:
        room = max_new_tokens
        if self.context_length is not None:
            room = min(room, self.context_length - len(token_ids))
        if room <= 0:
            return
        picks = {step: token_id for step, token_id in forced.items() if step < room}
        sequence = self.worker.join(token_ids, steps=room, top_k=top_k, forced=picks, rule=rule)
        try:
            for index in range(room):
                step = self.worker.step(sequence, index)
                if step is None:
                    return
                yield replace(step, token_ids=step.token_ids[:top_k], logprobs=step.logprobs[:top_k])
        finally:
            self.worker.leave(sequence, steps=room)

    @property
    def network(self) -> Network:
        """See `decoding.engines.network_protocol.Network`; its passes are serialized by `lock`."""
        return self._engine.network

    def _reference(self) -> Any:
        """See `LocalEngine.reference`; its passes are serialized with those of the batch."""
        assert self._engine.reference
        network = self._engine.reference()
        if network not in self._references:
            self._references.add(network)
            serialize_forward(network, self.lock)
        return network

    def score(self, token_ids: Sequence[int], continuation_ids: Sequence[int], *, top_k: int) -> Iterator[StepScores]:
        return self._engine.score(token_ids, continuation_ids, top_k=top_k)

    def beams(self, token_ids: Sequence[int], *, num_beams: int, max_new_tokens: int, top_k: int) -> Iterator[BeamStep]:
        return self._engine.beams(token_ids, num_beams=num_beams, max_new_tokens=max_new_tokens, top_k=top_k)

    def layer_logits(self, token_ids: Sequence[int], picked_ids: Sequence[int] = ()) -> Logits:
        """See `LocalEngine.layer_logits`."""
        return self._engine.layer_logits(token_ids, picked_ids)
