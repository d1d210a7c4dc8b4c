"""The line before the model: how many visitors are served at once, who waits, and who is refused.

Owns places, in the order of asking, and how many of them one visitor may have. Knows no run and no page. What holds
the model for long (searches, proofs) has lanes of its own, so that runs pass by those who wait for one. All of it
happens in the server's one event loop, except what says otherwise.
"""

import asyncio
from collections import deque
from dataclasses import dataclass
from math import inf
from time import monotonic

from decoding.errors import BusyError

RUNS = 32
"""Visitors served at once: what one batch holds."""
WAITING = 64
SECONDS = 300.0
"""The longest that a visitor may be served, so that one whom nobody listens to ends."""
OF_A_SESSION = 4
"""Places that one open page or client may have at once: its run, and a few that were stopped in mid-step."""
LONG_AT_ONCE = 2
"""Searches, proofs and readings of a text that are served at once, whoever asks for them."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks, as far as the server can tell. An `address` may be a whole school's; it is None where only a proxy's is
    known, behind which is everybody.
    """

    session: str | None = None
    address: str | None = None


class Place:
    """A visitor's place. `number` is 0 while being served, else 1 for the next one, and so on."""

    def __init__(self, visitor: Visitor, is_long: bool) -> None:
        self.visitor, self.is_long = visitor, is_long
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
    """At most `runs` places that are served, and `waiting` that wait; half of all for those of one address, and three
    quarters of those that are served.
    """

    def __init__(self, *, runs: int = RUNS, waiting: int = WAITING, seconds: float = SECONDS) -> None:
        self.runs, self.most_waiting, self.seconds = runs, waiting, seconds
        self._served: set[Place] = set()
        self._waiting: deque[Place] = deque()
        self.ends_at = inf
        """When whoever is served then is ended, on the clock of `time.monotonic`."""

    def close(self, seconds: float) -> None:
        """Let nobody in any more, nor move up, and whoever is served only go on for so long. Any thread may ask."""
        self.ends_at = monotonic() + seconds

    def check_open(self) -> None:
        """Raises BusyError where the line is closed."""
        if self.ends_at < inf:
            raise BusyError(
                "The server is being restarted. Nothing of yours is lost. Press Run again in a minute, on this page."
            )

    @property
    def served(self) -> int:
        return len(self._served)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def enter(self, visitor: Visitor, *, is_long: bool = False) -> Place:
        """A place, to `leave` in the end. Raises BusyError where the line is full, or the visitor has enough of it."""
        self.check_open()
        self._check_share(visitor)
        if len(self._served) >= self.runs and len(self._waiting) >= self.most_waiting:
            raise BusyError(
                f"The server is full: it serves {self.runs} at once and lets {self.most_waiting} wait. Nothing of "
                "yours is lost. Press Run again in half a minute."
            )
        place = Place(visitor, is_long)
        self._waiting.append(place)
        self._serve()
        return place

    def leave(self, place: Place) -> None:
        """Give up a place, served or waiting; twice is once."""
        self._served.discard(place)
        if place in self._waiting:
            self._waiting.remove(place)
        self._serve()

    def _check_share(self, visitor: Visitor) -> None:
        here = [place.visitor for place in (*self._served, *self._waiting)]
        if visitor.session and sum(one.session == visitor.session for one in here) >= OF_A_SESSION:
            raise BusyError(
                f"This page has {OF_A_SESSION} runs under way or waiting, and no page may have more. Nothing of yours "
                "is lost. Wait until one of them has ended, then press Run again."
            )
        most = (self.runs + self.most_waiting + 1) // 2
        if visitor.address and sum(one.address == visitor.address for one in here) >= most:
            raise BusyError(
                f"{most} runs from your network's address are under way or waiting, which is half of what the server "
                "accepts; the other half is for others. Nothing of yours is lost. Press Run again in half a minute."
            )

    def _serve(self) -> None:
        while place := next(filter(self._may_be_served, self._waiting), None):
            self._waiting.remove(place)
            self._served.add(place)
            place.move(0)
        for number, place in enumerate(self._waiting, start=1):
            place.move(number)

    def _may_be_served(self, place: Place) -> bool:
        if self.ends_at < inf or len(self._served) >= self.runs:
            return False
        if place.is_long and sum(one.is_long for one in self._served) >= LONG_AT_ONCE:
            return False
        address = place.visitor.address
        theirs = [one for one in self._served if address and one.visitor.address == address]
        if place.is_long and any(one.is_long for one in theirs):
            return False
        return len(theirs) < max(1, self.runs * 3 // 4)


def sentence(place: Place) -> str:
    """A place in words, for the one who has it."""
    before = place.number - 1
    if before == 0:
        return "You are next: your run begins as soon as another ends."
    return f"You are number {place.number} in line, {before} before you. Your run begins by itself."


def sharing(line: Line) -> str:
    """Why a visitor who is served sees nothing new for a while, where others are served as well."""
    return f"{line.served} runs are sharing the model now. Yours continues by itself."
