"""The folder that keeps what was fetched or made once: the starter, graphs, heads of files, the static site's files.

Owns where it is, and how a process holds a lock in it. Knows nothing of what it keeps.
"""

import errno
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any


def cache_folder() -> Path:
    """The cache folder: `$GREEDYSCOPE_CACHE`, or a folder of our own in the user's cache."""
    if chosen := os.environ.get("GREEDYSCOPE_CACHE"):
        return Path(os.path.expanduser(chosen)).absolute()
    base = Path(os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "greedyscope"


def acquire_lock(file: Path, on_wait: Callable[[], None] | None) -> AbstractContextManager[Any]:
    """Acquire an exclusive lock on a file; the system releases it if the process is killed. Calls `on_wait` every half
    second while another process or thread has it; without `on_wait`, raises BlockingIOError at once.
    """
    import filelock  # imported here, because a warm start needs no lock

    lock = filelock.FileLock(file)
    while True:
        try:
            return lock.acquire(timeout=0.5 if on_wait else 0)
        except filelock.Timeout:
            if on_wait is None:
                raise BlockingIOError(errno.EWOULDBLOCK, "another process has the lock") from None
            on_wait()
