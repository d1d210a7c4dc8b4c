"""A machine with another memory than this one, for the code that asks how much is free.

Owns the one place that stands for hardware which is not here: what the system says of its memory.
"""

from types import SimpleNamespace

import psutil
import pytest


def give_memory(monkeypatch: pytest.MonkeyPatch, free: int, total: int = 2**60) -> None:
    """The system has `total` bytes of memory from now on, of which `free` are available."""
    memory = SimpleNamespace(available=free, total=total)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
