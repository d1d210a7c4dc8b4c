"""Engines: where logits come from. Owns the protocol that they all keep, and no way of computing anything.

Each engine is a file of its own beside this one. Everything above speaks to `Engine` alone.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Protocol

from decoding.tokens import Vocabulary
from decoding.trace import ModelInfo, Readout


class Engine(Protocol):
    """A model that is ready to decode. `context_length` is None where the model has no limit of its own."""

    @property
    def info(self) -> ModelInfo: ...

    @property
    def vocabulary(self) -> Vocabulary: ...

    @property
    def context_length(self) -> int | None: ...

    @property
    def end_ids(self) -> Collection[int]: ...

    @property
    def beginning_id(self) -> int | None: ...

    def steps(self, token_ids: Sequence[int], *, max_new_tokens: int, top_k: int) -> Iterator[Readout]:
        """Decode greedily from `token_ids`, at least one. Ends by itself at `max_new_tokens`, after one of `end_ids`,
        or when the context is full. Closing the iterator stops the work.
        """
        ...
