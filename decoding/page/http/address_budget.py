"""A limit on what all addresses hold at once, and on each one's share of it.

Owns the counts. Knows nothing of what is counted: connections, bytes or jobs.
"""

import threading
from collections import Counter


class AddressBudget:
    """At most `most` in all, and `most_of_one` for each address, by default half. None is an address that everybody
    shares, to which only `most` applies. Thread-safe.
    """

    def __init__(self, most: int, most_of_one: int | None = None) -> None:
        self._most, self._most_of_one = most, most // 2 if most_of_one is None else most_of_one
        self._lock = threading.Lock()
        self._held: Counter[str | None] = Counter()

    @property
    def total(self) -> int:
        return self._held.total()

    def held_by(self, address: str | None) -> int:
        return self._held[address]

    def reserve(self, address: str | None, count: int = 1) -> bool:
        """Reserve `count`, to be released later. Returns False if so much is not left."""
        with self._lock:
            is_over_share = address is not None and self._held[address] + count > self._most_of_one
            if is_over_share or self._held.total() + count > self._most:
                return False
            self._held[address] += count
            return True

    def release(self, address: str | None, count: int = 1) -> None:
        with self._lock:
            self._held[address] -= count
            self._held += Counter()  # drops the addresses that hold nothing
