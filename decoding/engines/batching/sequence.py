"""One text that a batch writes: what it has read and said, what it is to read next, and who reads along.

Owns no thread and no network; `decoding.engines.batching.scheduler` does, and says who may touch what.
"""

import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from decoding.record.step import StepScores


@dataclass(eq=False, slots=True)
class Text:
    """A text from `token_ids` and the picks of `forced`.

    `wanted` holds the steps that each of its readers wants. `unread` are the ids to read next after what `cache` holds;
    a text that is a row has its cache there. Once its prompt is read (`is_writing`), a step is all it asks for.
    """

    token_ids: tuple[int, ...]
    forced: Mapping[int, int]
    top_k: int
    news: threading.Condition
    wanted: list[int]
    unread: list[int] = field(default_factory=list)
    cache: Any = None
    readouts: list[StepScores] = field(default_factory=list)
    is_writing: bool = False
    ended: bool = False
    error: Exception | None = None

    def __post_init__(self) -> None:
        self.unread = list(self.token_ids)

    def go_on_after(self, readouts: list[StepScores], cache: Any) -> None:
        """Take over what another run wrote: its readouts, and a cache that has read all but the last id."""
        self.readouts, self.cache = readouts, cache
        self.unread, self.is_writing = [self._last_id()], True

    def start_again(self) -> None:
        """Forget the cache: the prompt and all picks are to be read again."""
        self.cache, self.unread = None, [*self.token_ids, *(readout.picked_id for readout in self.readouts)]

    def say(self, readout: StepScores) -> None:
        self.readouts.append(readout)
        self.unread, self.is_writing = [self._last_id()], True

    def is_like(self, token_ids: tuple[int, ...], forced: Mapping[int, int], top_k: int) -> bool:
        """Whether a run with these picks can read along."""
        return self.token_ids == token_ids and self.forced == forced and self.top_k >= top_k

    def is_done(self, end_ids: Collection[int]) -> bool:
        """Whether nobody wants more of it, or it has ended by itself."""
        said = len(self.readouts)
        return said >= max(self.wanted, default=0) or (said > 0 and self._last_id() in end_ids)

    def _last_id(self) -> int:
        return self.readouts[-1].picked_id if self.readouts else self.token_ids[-1]
