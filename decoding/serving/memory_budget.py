"""The memory budget of this process: work reserves its peak memory before it begins and releases it at its end.

Owns the reserved sums, in bytes, and the sentences for requests that wait or are refused. It measures nothing, and
knows no engine, no run and no page. Its methods are thread-safe.

A model's reservation lasts as long as the model is in memory; the rest is for requests. One request, and all requests
of one address together, get at most three quarters of that rest, so that a small request of somebody else still fits.
"""

import threading
from collections import Counter
from collections.abc import Generator
from contextvars import ContextVar
from types import TracebackType

from decoding.cancellation import raise_if_cancelled
from decoding.errors import RequestError
from decoding.messages import Message
from decoding.models.catalogue import format_bytes

POLL_SECONDS = 0.2

_address: ContextVar[str | None] = ContextVar("address", default=None)
"""The address that the current thread works for."""


def charge_to(address: str | None) -> None:
    """Count what the calling thread reserves against the share of `address`; None: the address is unknown."""
    _address.set(address)


class Reservation:
    """A part of a budget until `release`, of which a second call does nothing. `size` is in bytes."""

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
        """Reserve `needed` bytes instead, for instance what a model takes instead of what was estimated."""
        self._budget._resize(self, needed)


class MemoryBudget:
    """`total` bytes, of which the process itself takes `process`. Work that waits checks every `poll_seconds` whether
    its visitor has left.
    """

    def __init__(self, total: int, *, process: int = 0, poll_seconds: float = POLL_SECONDS) -> None:
        self.total, self._poll_seconds = total, poll_seconds
        self._process = process
        self._models = 0
        self._requests: Counter[str | None] = Counter()
        self._changed = threading.Condition()

    @property
    def reserved(self) -> int:
        """Bytes reserved by the process, the models and the requests together."""
        return self._process + self._models + self._requests.total()

    @property
    def is_idle(self) -> bool:
        """Whether no request has reserved anything."""
        return not self._requests.total()

    @property
    def bytes_for_requests(self) -> int:
        """Bytes that all requests together may reserve beside the models in memory."""
        return max(0, self.total - self._process - self._models)

    @property
    def bytes_per_request(self) -> int:
        """The most bytes that one request, or all requests of one address, may reserve."""
        return self.bytes_for_requests * 3 // 4

    def update_resident(self, resident: int) -> None:
        """Correct the sums to the process's `resident` bytes; does nothing while requests are served."""
        with self._changed:
            if self.is_idle:
                self._process = max(0, resident - self._models)

    def reserve(self, needed: int) -> Reservation | None:
        """Reserve `needed` bytes for a request, or return None if they are not free now."""
        address = _address.get()
        with self._changed:
            exceeds_share = address is not None and self._requests[address] + needed > self.bytes_per_request
            if (
                exceeds_share
                or needed > self.bytes_per_request
                or self._requests.total() + needed > self.bytes_for_requests
            ):
                return None
            self._requests[address] += needed
        return Reservation(self, needed, address)

    def reserve_for_model(self, needed: int) -> "ModelReservation | None":
        """Reserve `needed` bytes for a model, or return None if they are not free beside the models and requests."""
        with self._changed:
            if self.reserved + needed > self.total:
                return None
            self._models += needed
        return ModelReservation(self, needed, None)

    def reserve_when_free(self, needed: int) -> Generator[str, None, Reservation]:
        """Wait until `needed` bytes are free and reserve them; yields a sentence for a visitor who has to wait.

        Raises RequestError if the bytes can never be free, WorkCancelledError if the visitor leaves.
        """
        waits = False
        while True:
            if needed > self.bytes_per_request:
                raise RequestError(
                    Message("memory.never", needed=format_bytes(needed), most=format_bytes(self.bytes_per_request))
                )
            if taken := self.reserve(needed):
                return taken
            raise_if_cancelled()
            if not waits:
                waits = True
                yield Message("memory.waits", needed=format_bytes(needed))
            with self._changed:
                self._changed.wait(self._poll_seconds)

    def _resize(self, part: Reservation, needed: int) -> None:
        with self._changed:
            if isinstance(part, ModelReservation):
                self._models += needed - part.size
            else:
                self._requests[part.address] += needed - part.size
                self._requests += Counter()  # drops the addresses whose sum is 0
            part.size = needed
            self._changed.notify_all()


class ModelReservation(Reservation):
    """The part of a budget that a model has."""
