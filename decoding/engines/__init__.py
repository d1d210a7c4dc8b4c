"""Engines: where logits come from. Owns the protocol that they all keep, and no way of computing anything.

Each engine is a file of its own beside this one. Everything above speaks to `Engine` alone.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Protocol

from decoding.record.step import NO_PICKS, StepScores
from decoding.record.tokens import Vocabulary
from decoding.record.trace import ModelInfo

__all__ = ["ENGINES", "NO_PICKS", "UNKNOWN_DTYPE", "Engine", "is_server"]

ENGINES = ("auto", "torch")
"""What computes in this process: what suits the device, or transformers' network everywhere."""

UNKNOWN_DTYPE = "unknown dtype"
"""The `info.dtype` of a model that is computed elsewhere, by who does not say it."""


def is_server(engine: str) -> bool:
    """Whether what was asked for is the address of a server that computes."""
    return bool(engine) and engine not in ENGINES


class Engine(Protocol):
    """A model that is ready to decode. `context_length` is None where the model has no limit of its own, and so is
    `max_top_k`; `vocabulary_size` counts the ids that it has logits for.
    """

    @property
    def info(self) -> ModelInfo: ...

    @property
    def vocabulary(self) -> Vocabulary: ...

    @property
    def vocabulary_size(self) -> int: ...

    @property
    def context_length(self) -> int | None: ...

    @property
    def max_top_k(self) -> int | None: ...

    @property
    def end_ids(self) -> Collection[int]: ...

    @property
    def beginning_id(self) -> int | None: ...

    def steps(
        self, token_ids: Sequence[int], *, max_new_tokens: int, top_k: int, forced: Mapping[int, int] = NO_PICKS
    ) -> Iterator[StepScores]:
        """Decode greedily from `token_ids`, at least one, but at the steps of `forced` pick its ids: their readouts
        have `picked`. Ends by itself at `max_new_tokens`, after one of `end_ids`, or when the context is full. Closing
        the iterator stops the work.
        """
        ...

    def score(self, token_ids: Sequence[int], continuation_ids: Sequence[int], *, top_k: int) -> Iterator[StepScores]:
        """What the model says at each step of a continuation that is already there, from one forward pass. Both have
        at least one id; every readout has `picked`.
        """
        ...
