"""The line before the model: how many visitors are served at once, who waits, and who is refused.

Owns places, in the order of asking. Knows no run and no page. All of it happens in the server's one event loop, except
what says otherwise.
"""

import asyncio
from collections import deque

from decoding.errors import BusyError

RUNS = 32
"""Visitors served at once: what one batch holds."""
WAITING = 64
SECONDS = 300.0
"""The longest that a visitor may be served, so that one whom nobody listens to ends."""


class Place:
    """A visitor's place. `number` is 0 while being served, else 1 for the next one, and so on."""

    def __init__(self) -> None:
        self.number = 0
        self._moved = asyncio.Event()

    def move(self, number: int) -> None:
        if number != self.number:
            self.number = number
            self._moved.set()

    async def moved(self, seconds: float) -> None:
        """Wait until the place has changed, but no longer than this."""
        try:
            await asyncio.wait_for(self._moved.wait(), seconds)
        except TimeoutError:
            return
        self._moved.clear()


class Line:
    """At most `runs` places that are served, and `waiting` that wait."""

    def __init__(self, *, runs: int = RUNS, waiting: int = WAITING, seconds: float = SECONDS) -> None:
        self.runs, self.most_waiting, self.seconds = runs, waiting, seconds
        self._served: set[Place] = set()
        self._waiting: deque[Place] = deque()

    @property
    def served(self) -> int:
        return len(self._served)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def enter(self) -> Place:
        """A place, to `leave` in the end. Raises BusyError where the line is full."""
        if len(self._served) >= self.runs and len(self._waiting) >= self.most_waiting:
            raise BusyError(
                f"The server is full: it serves {self.runs} at once and lets {self.most_waiting} wait. Nothing of "
                "yours is lost. Press Run again in half a minute."
            )
        place = Place()
        self._waiting.append(place)
        self._serve()
        return place

    def leave(self, place: Place) -> None:
        """Give up a place, served or waiting; twice is once."""
        self._served.discard(place)
        if place in self._waiting:
            self._waiting.remove(place)
        self._serve()

    def _serve(self) -> None:
        while self._waiting and len(self._served) < self.runs:
            place = self._waiting.popleft()
            self._served.add(place)
            place.move(0)
        for number, place in enumerate(self._waiting, start=1):
            place.move(number)


def sentence(place: Place) -> str:
    """A place in words, for the one who has it."""
    before = place.number - 1
    if before == 0:
        return "You are next: your run begins as soon as another ends."
    return f"You are number {place.number} in line, {before} before you. Your run begins by itself."
