"""The facts of a model that every engine has: once, for all engines. Knows no computation."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from decoding.record.tokens import Vocabulary
from decoding.record.trace import ModelInfo


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """See `decoding.engines.Engine`."""

    info: ModelInfo
    vocabulary: Vocabulary
    vocabulary_size: int
    context_length: int | None
    end_ids: frozenset[int]
    beginning_id: int | None
    max_top_k: int | None = None


class HasFacts(Protocol):
    """`ModelFacts`, and each engine."""

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


class EngineOfModel:
    """What engines have in common. An engine over another one takes the facts from that."""

    is_outdated = False

    def __init__(self, facts: HasFacts) -> None:
        self.info = facts.info
        self.vocabulary = facts.vocabulary
        self.vocabulary_size = facts.vocabulary_size
        self.context_length = facts.context_length
        self.max_top_k = facts.max_top_k
        self.end_ids = facts.end_ids
        self.beginning_id = facts.beginning_id
