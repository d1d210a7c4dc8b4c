"""The sessions of classes that vote in this process: codes, how many there may be, when one ends, and guessed codes.

Owns the codes and those bounds. Knows no HTTP and no clock; every call is told the time, in seconds. Nothing is written
to a disk, and nothing of a session stays after its end.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from decoding.limits import MAX_VOTE_SESSIONS, MAX_VOTE_SESSIONS_PER_ADDRESS, PROXY_FACTOR
from decoding.requests.vote_request import Refusal, VoteError
from decoding.serving.class_vote import VoteSession

ALPHABET = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"
"""Capitals and digits of which none looks like another: no 0 and O, no 1, I and L."""
CODE_CHARACTERS = 6
"""31 to the power of 6: 890 million codes, of which at most 32 are in use."""
SESSION_SECONDS = 2 * 3600.0
UNATTENDED_SECONDS = 600.0
"""When all places are taken, a session whose teacher was not heard of for so long ends for a new one."""


class RateLimit:
    """At most `burst` events of an address at once, and `per_second` of them in the long run. A token bucket."""

    def __init__(self, per_second: float, burst: float) -> None:
        self._per_second, self._burst = per_second, burst
        self._used: dict[str | None, tuple[float, float]] = {}
        """The events that are not made up for yet, and since when that number holds."""

    def has_room(self, address: str | None, now: float) -> bool:
        return self._left(address, now) + 1 <= self._burst * _factor(address)

    def count(self, address: str | None, now: float) -> None:
        self._used[address] = self._left(address, now) + 1, now
        if len(self._used) > 1000:  # whoever has made up for all events is as good as new
            self._used = {each: used for each, used in self._used.items() if self._left(each, now) > 0}

    def _left(self, address: str | None, now: float) -> float:
        used, since = self._used.get(address, (0.0, now))
        return max(0.0, used - (now - since) * self._per_second * _factor(address))


def _factor(address: str | None) -> int:
    return PROXY_FACTOR if address is None else 1


@dataclass(slots=True)
class _Place:
    session: VoteSession
    address: str | None


class VoteSessions:
    """All sessions of a process. Its methods run in one thread."""

    def __init__(self, choose: Callable[[str], str] = secrets.choice) -> None:
        self._choose = choose
        self._places: dict[str, _Place] = {}
        self._wrong_codes = RateLimit(per_second=5, burst=300)

    def __len__(self) -> int:
        return len(self._places)

    def open(self, address: str | None, now: float) -> VoteSession:
        """Open a session. Raises VoteError if there are too many, of this address or in all."""
        self.sweep(now)
        of_address = sum(place.address == address for place in self._places.values())
        if address is not None and of_address >= MAX_VOTE_SESSIONS_PER_ADDRESS:
            raise VoteError(Refusal.SESSIONS_FULL)
        if len(self._places) >= MAX_VOTE_SESSIONS:
            self._end_unattended(now)
        code = self._new_code()
        self._places[code] = _Place(VoteSession(code, now), address)
        return self._places[code].session

    def find(self, code: str, address: str | None, now: float) -> VoteSession:
        """The session of a code. Raises VoteError if there is none, and for an address that guesses codes."""
        if not self._wrong_codes.has_room(address, now):
            raise VoteError(Refusal.TOO_FAST)
        session = self.known(code, now)
        if session is None:
            self._wrong_codes.count(address, now)
            raise VoteError(Refusal.UNKNOWN)
        return session

    def known(self, code: str, now: float) -> VoteSession | None:
        """The session of a code, for somebody who proves with an id or a secret that the code was not guessed."""
        place = self._places.get(code)
        if place is None or not _is_over(place.session, now):
            return place.session if place else None
        self.end(place.session)
        return None

    def end(self, session: VoteSession) -> None:
        session.end()
        self._places.pop(session.code, None)

    def sweep(self, now: float) -> None:
        """End the sessions that are two hours old."""
        for place in [place for place in self._places.values() if _is_over(place.session, now)]:
            self.end(place.session)

    def _end_unattended(self, now: float) -> None:
        longest = min((place.session for place in self._places.values()), key=lambda session: session.teacher_seen)
        if now - longest.teacher_seen < UNATTENDED_SECONDS:
            raise VoteError(Refusal.SESSIONS_FULL)
        self.end(longest)

    def _new_code(self) -> str:
        while (code := "".join(self._choose(ALPHABET) for _ in range(CODE_CHARACTERS))) in self._places:
            pass
        return code


def _is_over(session: VoteSession, now: float) -> bool:
    return session.is_ended or now - session.opened >= SESSION_SECONDS
