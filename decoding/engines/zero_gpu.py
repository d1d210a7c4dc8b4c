"""The engine of a Space on ZeroGPU: each run is made in a process that has a GPU for a limited time.

Owns what crosses to that process: plain records, pickled both ways. That process is a fork of this one, so it has the
models that were loaded before, and what it changes is lost with it. Elsewhere the same calls run in this process.
"""

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from decoding.beam import BeamStep
from decoding.engines import NO_PICKS
from decoding.engines.leave_one_out_passes import Span, scores_without
from decoding.engines.model_facts import EngineOfModel
from decoding.engines.network_protocol import Logits
from decoding.engines.torch.engine import LocalEngine
from decoding.errors import GreedyscopeError, ModelError
from decoding.messages import Message
from decoding.models.devices import is_zero_gpu
from decoding.record.pick_rule import ARGMAX, PickRule
from decoding.record.step import StepScores

if is_zero_gpu():
    import spaces  # before CUDA is initialized: it replaces CUDA in this process, which never gets the GPU

MOVE_SECONDS, STEP_SECONDS, READ_TOKENS_A_SECOND = 10, 0.06, 2_000
MAX_SECONDS = 120

Picks = tuple[tuple[int, int], ...]
Records = Iterator[StepScores | BeamStep | tuple[StepScores, ...] | Logits | GreedyscopeError]
"""Step scores, steps of a search, or the logits of a layer; the last record may be an error, which would arrive without
its message if it was raised there.
"""

_LOADED: dict[str, LocalEngine] = {}


def steps_seconds(
    model: str, token_ids: Sequence[int], max_new_tokens: int, top_k: int, forced: Picks, rule: PickRule = ARGMAX
) -> int:
    """The seconds for which the GPU is requested: to move the weights, to read the prompt, and to decode. A shorter
    request is granted sooner and uses less of the visitor's quota.
    """
    seconds = MOVE_SECONDS + len(token_ids) / READ_TOKENS_A_SECOND + max_new_tokens * STEP_SECONDS
    return min(MAX_SECONDS, math.ceil(seconds))


def score_seconds(model: str, token_ids: Sequence[int], continuation_ids: Sequence[int], top_k: int) -> int:
    """See `steps_seconds`. All steps are read in one pass."""
    read = len(token_ids) + len(continuation_ids)
    return min(MAX_SECONDS, math.ceil(MOVE_SECONDS + read / READ_TOKENS_A_SECOND))


def _on_gpu(seconds: Callable[..., int]) -> Callable[[Any], Any]:
    """Run a generator in the process that has the GPU. An error that visitors may read is its last record."""

    def decorate(function: Callable[..., Records]) -> Any:
        @functools.wraps(function)
        def records(*arguments: Any) -> Records:
            try:
                yield from function(*arguments)
            except GreedyscopeError as error:
                yield error

        return spaces.GPU(duration=seconds)(records) if is_zero_gpu() else records

    return decorate


@_on_gpu(steps_seconds)
def _steps(
    model: str, token_ids: Sequence[int], max_new_tokens: int, top_k: int, forced: Picks, rule: PickRule = ARGMAX
) -> Records:
    how: Any = {"max_new_tokens": max_new_tokens, "top_k": top_k, "forced": dict(forced), "rule": rule}
    yield from _LOADED[model].steps(token_ids, **how)


@_on_gpu(score_seconds)
def _score(model: str, token_ids: Sequence[int], continuation_ids: Sequence[int], top_k: int) -> Records:
    yield from _LOADED[model].score(token_ids, continuation_ids, top_k=top_k)


def beams_seconds(model: str, token_ids: Sequence[int], num_beams: int, max_new_tokens: int, top_k: int) -> int:
    """See `steps_seconds`. A lent GPU reads each beam in a pass of its own."""
    return steps_seconds(model, token_ids, max_new_tokens * num_beams, top_k, ())


@_on_gpu(beams_seconds)
def _beams(model: str, token_ids: Sequence[int], num_beams: int, max_new_tokens: int, top_k: int) -> Records:
    options: Any = {"num_beams": num_beams, "max_new_tokens": max_new_tokens, "top_k": top_k}
    yield from _LOADED[model].beams(token_ids, **options)


def layers_seconds(model: str, token_ids: Sequence[int], picked_ids: Sequence[int]) -> int:
    """See `steps_seconds`. All layers are read in one pass."""
    return score_seconds(model, token_ids, picked_ids, 1)


@_on_gpu(layers_seconds)
def _layers(model: str, token_ids: Sequence[int], picked_ids: Sequence[int]) -> Records:
    yield from _LOADED[model].layer_logits(token_ids, picked_ids)  # a row at a time


def without_seconds(model: str, token_ids: Sequence[int], spans: Sequence[Span], wanted_ids: Sequence[int]) -> int:
    """See `steps_seconds`. Each part takes a pass over what comes after it."""
    read = len(token_ids) + sum(len(token_ids) - first for first, _ in spans)
    seconds = MOVE_SECONDS + read / READ_TOKENS_A_SECOND + len(spans) * STEP_SECONDS
    return min(MAX_SECONDS, math.ceil(seconds))


@_on_gpu(without_seconds)
def _without(model: str, token_ids: Sequence[int], spans: Sequence[Span], wanted_ids: Sequence[int]) -> Records:
    yield from scores_without(_LOADED[model], token_ids, spans, wanted_ids)


class ZeroGpuEngine(EngineOfModel):
    """See `decoding.engines.Engine`. Thread-safe.

    Its model must be loaded before the page is launched, in the thread that imports this module, because `spaces`
    replaces CUDA only in that thread.
    """

    def __init__(self, engine: LocalEngine) -> None:
        super().__init__(engine)
        self.layers = int(engine.network.layers)
        _LOADED[engine.info.id] = engine

    def steps(
        self,
        token_ids: Sequence[int],
        *,
        max_new_tokens: int,
        top_k: int,
        forced: Mapping[int, int] = NO_PICKS,
        rule: PickRule = ARGMAX,
    ) -> Iterator[StepScores]:
        return _records(_steps(self.info.id, tuple(token_ids), max_new_tokens, top_k, tuple(forced.items()), rule))

    def score(self, token_ids: Sequence[int], continuation_ids: Sequence[int], *, top_k: int) -> Iterator[StepScores]:
        return _records(_score(self.info.id, tuple(token_ids), tuple(continuation_ids), top_k))

    def beams(self, token_ids: Sequence[int], *, num_beams: int, max_new_tokens: int, top_k: int) -> Iterator[BeamStep]:
        return _records(_beams(self.info.id, tuple(token_ids), num_beams, max_new_tokens, top_k))

    def layer_logits(self, token_ids: Sequence[int], picked_ids: Sequence[int] = ()) -> Logits:
        """See `LocalEngine.layer_logits`."""
        return np.stack([*_records(_layers(self.info.id, tuple(token_ids), tuple(picked_ids)))])

    def scores_without(
        self, token_ids: Sequence[int], spans: Sequence[Span], wanted_ids: Sequence[int]
    ) -> Iterator[tuple[StepScores, ...]]:
        """See `decoding.engines.leave_one_out_passes.scores_without`. The GPU is lent once for all parts."""
        return _records(_without(self.info.id, tuple(token_ids), tuple(spans), tuple(wanted_ids)))


def _records(records: Any) -> Iterator[Any]:
    """The records that are no error. Closing it closes the records, which ends the work there after one more step."""
    try:
        for record in records:
            if isinstance(record, GreedyscopeError):
                raise record
            yield record
    except GreedyscopeError:
        raise
    except Exception as error:  # no free GPU, or the visitor's quota is used up; the message is for visitors
        reason = getattr(error, "message", None) or type(error).__name__
        raise ModelError(Message("gpu.taken", quote=reason)) from error
    finally:
        records.close()
