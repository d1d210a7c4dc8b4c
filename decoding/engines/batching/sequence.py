"""One sequence that is decoded: its prompt, its steps so far, the ids to read next, and its readers.

Owns the state of a sequence and the changes of that state. Knows no thread and no network; it only carries the cache.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from decoding.record.pick_rule import ARGMAX, PickRule
from decoding.record.step import StepScores


class SequenceStatus(Enum):
    WAITING = auto()
    """Some ids of its prompt are unread."""
    ALONE = auto()
    """It reads one id per step, in a pass of its own."""
    IN_BATCH = auto()
    """It reads one id per step, as a row of the shared pass, which holds its cache."""
    FINISHED = auto()


@dataclass(eq=False, slots=True)
class TokenSequence:
    """A run from `prompt_ids` with the `forced` picks, which map a step's index to an id, and the `rule` of the others.

    `wanted_steps` holds, for each reader, the number of steps it waits for. `unread` are the ids to read next, after
    those in `cache`. Not thread-safe: the worker's lock guards it.
    """

    prompt_ids: tuple[int, ...]
    forced: Mapping[int, int]
    top_k: int
    wanted_steps: list[int]
    unread: list[int] = field(default_factory=list)
    cache: Any = None
    row: int = -1
    steps: list[StepScores] = field(default_factory=list)
    status: SequenceStatus = SequenceStatus.WAITING
    error: Exception | None = None
    rule: PickRule = ARGMAX

    def __post_init__(self) -> None:
        self.unread = list(self.prompt_ids)

    @property
    def length(self) -> int:
        """The number of ids in its cache."""
        return len(self.prompt_ids) + len(self.steps) - len(self.unread)

    @property
    def last_id(self) -> int:
        return self.steps[-1].picked_id if self.steps else self.prompt_ids[-1]

    def resume(self, steps: list[StepScores], cache: Any) -> None:
        """Continue an earlier run from its steps, with a cache that has read all ids but the last."""
        self.steps, self.cache = steps, cache
        self.unread, self.status = [self.last_id], SequenceStatus.ALONE

    def restart(self) -> None:
        """Drop the cache: the prompt and all picks are read again."""
        self.cache, self.row, self.status = None, -1, SequenceStatus.WAITING
        self.unread = [*self.prompt_ids, *(step.picked_id for step in self.steps)]

    def append(self, step: StepScores) -> None:
        """Add a decoded step. Its pick is the next id to read."""
        self.steps.append(step)
        self.unread = [self.last_id]
        if self.status is SequenceStatus.WAITING:
            self.status = SequenceStatus.ALONE

    def can_serve(
        self, prompt_ids: tuple[int, ...], forced: Mapping[int, int], top_k: int, rule: PickRule = ARGMAX
    ) -> bool:
        """Whether a request for this prompt, these picks, `top_k` and `rule` can read this sequence's steps."""
        same = self.prompt_ids == prompt_ids and self.forced == forced and self.rule == rule
        return same and self.top_k >= top_k

    def is_done(self, end_ids: Collection[int]) -> bool:
        """Whether no reader waits for another step, or the text has ended."""
        return len(self.steps) >= max(self.wanted_steps, default=0) or (bool(self.steps) and self.last_id in end_ids)
