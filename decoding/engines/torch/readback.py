"""Steps that run ahead of their reader: launched one after another, each with its numbers on the way to the host.

Owns the depth, which is how far ahead they may run, and the post: on a GPU one asynchronous copy a step into memory
that the GPU writes to by itself, with an event that says it has arrived. So the GPU never waits for Python while there
is something launched, and Python waits for one step only. Knows no model.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol

import torch

DEPTH = 4
"""Steps that may be launched and not yet read. A step of a small model takes half a millisecond, and a reader needs
about as long for it; what runs ahead of an end is thrown away.
"""

Arrival = Callable[[], list[float]]
"""Waits until a step's numbers have arrived, and returns them."""


class Post(Protocol):
    """Sends the numbers of one step after another; at most `DEPTH` may be on the way, and are read in this order."""

    def send(self, numbers: torch.Tensor) -> Arrival: ...


class PinnedPost:
    """From a CUDA GPU, without waiting for it."""

    def __init__(self, like: torch.Tensor) -> None:
        self._slots = [torch.empty(like.shape, dtype=like.dtype, pin_memory=True) for _ in range(DEPTH)]
        self._events = [torch.cuda.Event() for _ in range(DEPTH)]  # type: ignore[no-untyped-call]
        self._sent = 0

    def send(self, numbers: torch.Tensor) -> Arrival:
        slot, event = self._slots[self._sent % DEPTH], self._events[self._sent % DEPTH]
        self._sent += 1
        slot.copy_(numbers, non_blocking=True)
        event.record()

        def arrival() -> list[float]:
            event.synchronize()
            return slot.tolist()

        return arrival


class CopyingPost:
    """From where they are at once, as on a CPU."""

    def __init__(self, like: torch.Tensor) -> None:
        self._like = like

    def send(self, numbers: torch.Tensor) -> Arrival:
        copy = numbers.clone()
        return copy.tolist


def fly(launch: Callable[[], Arrival], *, steps: int, depth: int = DEPTH) -> Iterator[list[float]]:
    """The numbers of so many steps, in order; up to `depth` of them are launched and not yet read. Closing it launches
    nothing more.
    """
    ahead: deque[Arrival] = deque()
    launched = 0
    for _ in range(steps):
        while launched < steps and len(ahead) < depth:
            ahead.append(launch())
            launched += 1
        yield ahead.popleft()()
