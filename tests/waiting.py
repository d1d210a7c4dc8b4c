"""Waiting in a test: for a condition, for as long as a busy machine may take; and for what a coroutine returns."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

LONGEST_SECONDS = 120.0


def until(is_so: Callable[[], object], why: str = "") -> None:
    """Wait until `is_so` is true. Fails the test if it never is, with `why`."""
    end = time.monotonic() + LONGEST_SECONDS
    while not is_so():
        assert time.monotonic() < end, why or f"it was not so in {LONGEST_SECONDS:.0f} s"
        time.sleep(0.02)


def answer_of(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """What a coroutine returns, in a thread of its own: this one may hold Playwright's loop."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()
