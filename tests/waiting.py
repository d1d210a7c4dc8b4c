"""Waiting for a condition in a test, for as long as a busy machine may take."""

import time
from collections.abc import Callable

LONGEST_SECONDS = 120.0


def until(is_so: Callable[[], object], why: str = "") -> None:
    """Wait until `is_so` is true. Fails the test if it never is, with `why`."""
    end = time.monotonic() + LONGEST_SECONDS
    while not is_so():
        assert time.monotonic() < end, why or f"it was not so in {LONGEST_SECONDS:.0f} s"
        time.sleep(0.02)
