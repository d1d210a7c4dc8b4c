"""The memory that this process may use, as an account: work takes what it will need at its longest before it begins,
and gives it back at its end.

Owns the sums, who has how much of them, and the sentences of those who wait or are refused. It looks at no machine, and
knows no engine, no run and no page. Several threads may use it.

A model takes its share for as long as it is in memory; what is left is for requests. One request, and all of one
address together, have at most three quarters of that, so that a small request of somebody else always finds room.
"""

import threading
from collections import Counter
from collections.abc import Generator
from contextvars import ContextVar
from types import TracebackType

from decoding.cancellation import check_left
from decoding.errors import RequestError
from decoding.models.catalogue import size

LOOK_SECONDS = 0.2
"""How often work that waits for memory looks whether its visitor has left."""

_address: ContextVar[str | None] = ContextVar("address", default=None)
"""Whose work a thread does."""


def bear(address: str | None) -> None:
    """Have what this thread takes counted for an address; None is an address that nobody knows."""
    _address.set(address)


class Reservation:
    """A part of a budget, until it is released; twice is once."""

    def __init__(self, budget: "MemoryBudget", needed: int, address: str | None) -> None:
        self.size, self.address = needed, address
        self._budget = budget

    def __enter__(self) -> "Reservation":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()

    def release(self) -> None:
        self.resize(0)

    def resize(self, needed: int) -> None:
        """Hold so much from here on: what was foreseen of a model gives way to what it takes."""
        self._budget._resize(self, needed)


class MemoryBudget:
    """`total` bytes, of which the process itself takes `process`."""

    def __init__(self, total: int, *, process: int = 0) -> None:
        self.total = total
        self._process = process
        self._models = 0
        self._requests: Counter[str | None] = Counter()
        self._changed = threading.Condition()

    @property
    def reserved(self) -> int:
        """Bytes that are taken, for whatever it is."""
        return self._process + self._models + self._requests.total()

    @property
    def is_idle(self) -> bool:
        """Whether no request holds any of it."""
        return not self._requests.total()

    @property
    def for_requests(self) -> int:
        """Bytes that all requests together may take beside the models that are in memory."""
        return max(0, self.total - self._process - self._models)

    @property
    def for_one(self) -> int:
        """The most that one request may take, or one address."""
        return self.for_requests * 3 // 4

    def settle(self, resident: int) -> None:
        """Count as taken what the process takes now that nobody is served, whatever was foreseen of its parts."""
        with self._changed:
            if self.is_idle:
                self._process = max(0, resident - self._models)

    def take(self, needed: int) -> Reservation | None:
        """A request's part, or None where there is no room for it now."""
        address = _address.get()
        with self._changed:
            has_its_share = address is not None and self._requests[address] + needed > self.for_one
            if has_its_share or needed > self.for_one or self._requests.total() + needed > self.for_requests:
                return None
            self._requests[address] += needed
        return Reservation(self, needed, address)

    def take_for_model(self, needed: int) -> "ModelReservation | None":
        """A model's part, or None where it does not fit beside the other models and what is being served."""
        with self._changed:
            if self.reserved + needed > self.total:
                return None
            self._models += needed
        return ModelReservation(self, needed, None)

    def wait(self, needed: int) -> Generator[str, None, Reservation]:
        """A request's part, waited for; a sentence for the one who waits. Raises RequestError where there never will
        be room, LeftError for a visitor who has left.
        """
        waits = False
        while True:
            if needed > self.for_one:
                raise RequestError(
                    f"This needs {size(needed)} of memory at its longest, and the server gives one visitor "
                    f"{size(self.for_one)}. Use a shorter prompt, fewer steps, fewer choices or fewer beams."
                )
            if taken := self.take(needed):
                return taken
            check_left()
            if not waits:
                waits = True
                yield f"Your run waits for {size(needed)} of memory that others use. It begins by itself."
            with self._changed:
                self._changed.wait(LOOK_SECONDS)

    def _resize(self, part: Reservation, needed: int) -> None:
        with self._changed:
            if isinstance(part, ModelReservation):
                self._models += needed - part.size
            else:
                self._requests[part.address] += needed - part.size
                self._requests += Counter()  # forget who has nothing any more
            part.size = needed
            self._changed.notify_all()


class ModelReservation(Reservation):
    """A model's part of a budget."""
