"""One sequence that a batch decodes: its prompt, its steps so far, what it reads next, and who waits for it.

Owns a sequence's state and the changes of it. Knows no thread and no network: a cache is only carried.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from decoding.record.step import StepScores


class SequenceStatus(Enum):
    WAITING = auto()
    """Ids of its prompt are unread."""
    ALONE = auto()
    """It reads one id a step, in a pass of its own."""
    IN_BATCH = auto()
    """It reads one id a step, as a row of the shared pass; its cache is there."""
    FINISHED = auto()


@dataclass(eq=False, slots=True)
class TokenSequence:
    """A run from `prompt_ids` with the picks of `forced`.

    `wanted` holds the number of steps that each of its readers waits for. `unread` are the ids to read next, after what
    `cache` holds.
    """

    prompt_ids: tuple[int, ...]
    forced: Mapping[int, int]
    top_k: int
    wanted: list[int]
    unread: list[int] = field(default_factory=list)
    cache: Any = None
    row: int = -1
    steps: list[StepScores] = field(default_factory=list)
    status: SequenceStatus = SequenceStatus.WAITING
    error: Exception | None = None

    def __post_init__(self) -> None:
        self.unread = list(self.prompt_ids)

    @property
    def length(self) -> int:
        """How many ids its cache holds."""
        return len(self.prompt_ids) + len(self.steps) - len(self.unread)

    @property
    def last_id(self) -> int:
        return self.steps[-1].picked_id if self.steps else self.prompt_ids[-1]

    def resume(self, steps: list[StepScores], cache: Any) -> None:
        """Take over the steps of an earlier run, with a cache that has read all but the last id."""
        self.steps, self.cache = steps, cache
        self.unread, self.status = [self.last_id], SequenceStatus.ALONE

    def restart(self) -> None:
        """Forget the cache: the prompt and all picks are to be read again."""
        self.cache, self.row, self.status = None, -1, SequenceStatus.WAITING
        self.unread = [*self.prompt_ids, *(step.picked_id for step in self.steps)]

    def append(self, step: StepScores) -> None:
        """A step that was decoded; its pick is read next."""
        self.steps.append(step)
        self.unread = [self.last_id]
        if self.status is SequenceStatus.WAITING:
            self.status = SequenceStatus.ALONE

    def has_prefix_of(self, prompt_ids: tuple[int, ...], forced: Mapping[int, int], top_k: int) -> bool:
        """Whether a run with these picks has the same steps, with no more candidates."""
        return self.prompt_ids == prompt_ids and self.forced == forced and self.top_k >= top_k

    def is_done(self, end_ids: Collection[int]) -> bool:
        """Whether no reader waits for a further step, or the text has ended."""
        return len(self.steps) >= max(self.wanted, default=0) or (bool(self.steps) and self.last_id in end_ids)
