"""Admission: how many visitors the model serves at once, who waits, and who is refused.

Owns the queue of tickets, the share of it that one visitor may have, and the limits and the pace of a visit. Knows no
run and no page. Long work (beam search, proofs, scored texts) has a limit of its own, so that runs overtake it.
Everything runs in the server's event loop; only `AdmissionQueue.close` may be called from any thread.
"""

import asyncio
from collections import deque
from dataclasses import dataclass
from math import inf
from time import monotonic

from decoding.errors import BusyError
from decoding.messages import Message

MAX_SERVED = 32
"""Visitors served at once, as many as one batch has rows."""
MAX_WAITING = 64
MAX_SECONDS = 300.0
"""The longest that one visitor is served, so that work without a listener ends."""
PAUSE_SECONDS = 0.15
"""The shortest time between two updates of a single visitor: more are not visible, and Gradio needs 6 ms for each."""
HEARTBEAT_SECONDS = 1.0
"""After this time without an update a heartbeat is sent, so that Gradio checks whether the visitor still listens."""
MAX_PER_SESSION = 4
"""Tickets that one open page or client may hold: its run, and a few stopped ones that finish their step."""
MAX_LONG = 2
"""Searches, proofs and scored texts that are served at once, for all visitors together."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks, as far as the server can tell. A whole school may share one `address`. It is None if only the address
    of a proxy is known, which everybody shares.
    """

    session: str | None = None
    address: str | None = None


class Ticket:
    """A visitor's position in the queue: `number` is 0 while served, 1 for the next one, and so on."""

    def __init__(self, visitor: Visitor, is_long: bool) -> None:
        self.visitor, self.is_long = visitor, is_long
        self.number = 0
        self._moved = asyncio.Event()

    def advance(self, number: int) -> None:
        if number != self.number:
            self.number = number
            self._moved.set()

    async def wait_for_advance(self, seconds: float) -> None:
        """Wait until `number` has changed, for at most `seconds`."""
        try:
            async with asyncio.timeout(seconds):  # see `decoding.serving.stream` on wait_for
                await self._moved.wait()
        except TimeoutError:
            return
        self._moved.clear()


class AdmissionQueue:
    """At most `runs` tickets are served and `waiting` wait, each for at most `seconds`.

    One address may hold half of all tickets and three quarters of those that are served. Text updates of a visit are at
    least `pause_seconds` apart, and any updates at most `heartbeat_seconds`.
    """

    def __init__(
        self,
        *,
        runs: int = MAX_SERVED,
        waiting: int = MAX_WAITING,
        seconds: float = MAX_SECONDS,
        pause_seconds: float = PAUSE_SECONDS,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        self.runs, self.max_waiting, self.seconds = runs, waiting, seconds
        self.pause_seconds, self.heartbeat_seconds = pause_seconds, heartbeat_seconds
        self._served: set[Ticket] = set()
        self._waiting: deque[Ticket] = deque()
        self.ends_at = inf
        """When the work still under way is ended, on the clock of `time.monotonic`; infinite while the server runs."""

    def close(self, seconds: float) -> None:
        """Admit nobody any more, and end what is served after `seconds`. Any thread may call this."""
        self.ends_at = monotonic() + seconds

    def check_open(self) -> None:
        """Raises BusyError if the queue is closed."""
        if self.ends_at < inf:
            raise BusyError(Message("line.restart"))

    @property
    def served(self) -> int:
        return len(self._served)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def enter(self, visitor: Visitor, *, is_long: bool = False) -> Ticket:
        """A ticket for `visitor`; the caller must `leave` with it. Raises BusyError if the queue is closed or full, or
        the visitor has used up its share.
        """
        self.check_open()
        self._check_fair_share(visitor)
        if len(self._served) >= self.runs and len(self._waiting) >= self.max_waiting:
            raise BusyError(Message("line.full", runs=self.runs, waiting=self.max_waiting))
        ticket = Ticket(visitor, is_long)
        self._waiting.append(ticket)
        self._admit_waiting()
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Give up a ticket, served or waiting. A second call does nothing."""
        self._served.discard(ticket)
        if ticket in self._waiting:
            self._waiting.remove(ticket)
        self._admit_waiting()

    def _check_fair_share(self, visitor: Visitor) -> None:
        here = [ticket.visitor for ticket in (*self._served, *self._waiting)]
        if visitor.session and sum(one.session == visitor.session for one in here) >= MAX_PER_SESSION:
            raise BusyError(Message("line.session", runs=MAX_PER_SESSION))
        most = (self.runs + self.max_waiting + 1) // 2
        if visitor.address and sum(one.address == visitor.address for one in here) >= most:
            raise BusyError(Message("line.address", runs=most))

    def _admit_waiting(self) -> None:
        while ticket := next(filter(self._may_be_admitted, self._waiting), None):
            self._waiting.remove(ticket)
            self._served.add(ticket)
            ticket.advance(0)
        for number, ticket in enumerate(self._waiting, start=1):
            ticket.advance(number)

    def _may_be_admitted(self, ticket: Ticket) -> bool:
        if self.ends_at < inf or len(self._served) >= self.runs:
            return False
        if ticket.is_long and sum(one.is_long for one in self._served) >= MAX_LONG:
            return False
        address, session = ticket.visitor.address, ticket.visitor.session
        theirs = [one for one in self._served if address and one.visitor.address == address]
        here = [one for one in self._served if session and one.visitor.session == session]
        if ticket.is_long and any(one.is_long for one in (*theirs, *here)):
            return False
        return len(theirs) < max(1, self.runs * 3 // 4)


def waiting_message(ticket: Ticket) -> str:
    """The sentence that a visitor who waits reads."""
    before = ticket.number - 1
    if before == 0:
        return Message("line.next")
    return Message("line.place", number=ticket.number, before=before)


def sharing_message(queue: AdmissionQueue) -> str:
    """The sentence for a visitor whose run is slow because others share the model."""
    return Message("line.sharing", runs=queue.served)
