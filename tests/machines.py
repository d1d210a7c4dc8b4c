"""A machine with another memory than this one, or without threads to give.

Owns what stands for a system that is not here: what it says of its memory, and that it starts no thread.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import psutil
import pytest


def give_memory(monkeypatch: pytest.MonkeyPatch, free: int, total: int = 2**60) -> None:
    """The system has `total` bytes of memory from now on, of which `free` are available."""
    memory = SimpleNamespace(available=free, total=total)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)


@contextmanager
def refused_threads(name: str, *, after: int = 0) -> Iterator[None]:
    """The system starts no more threads of this name, after so many more of them, until the block ends."""
    start, left = threading.Thread.start, [after]

    def refuse(thread: threading.Thread) -> None:
        if thread.name == name:
            left[0] -= 1
            if left[0] < 0:
                raise RuntimeError("can't start new thread")
        start(thread)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        yield
