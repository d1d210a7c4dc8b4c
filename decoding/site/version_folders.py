"""A folder in the cache for each version of what a server serves.

Owns when a folder is made (once, under a lock, and renamed into place when it is complete) and when it goes: once a new
version is made, unless a running server serves it. Knows not what is in it.
"""

import shutil
import tempfile
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

_KEY_FILE = "key"
_WORK_PREFIX = ".making-"
_IN_USE = ".in-use"
"""How the names of lock files end, one for each server and folder. The system releases a lock when its process ends."""
_locks: dict[Path, FileLock] = {}
"""Of the folders that this process serves."""


def ensure_version(folder: Path, key: str, replaces: Callable[[str], bool], make: Callable[[Path], None]) -> None:
    """Have `folder` hold the version `key`, and stay until this process ends. If it does not hold it yet, `make` writes
    it into an empty folder, and the folders beside it whose keys it `replaces` go, but for those that are served.
    Raises OSError, and what `make` raises.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name("making.lock")):
            if _key_of(folder) != key:
                _make(folder, key, make)
                _prune(folder, replaces)
            _mark_in_use(folder)
    except OSError:  # a cache that cannot be written to may hold the version all the same
        if _key_of(folder) != key:
            raise


def _key_of(folder: Path) -> str | None:
    with suppress(OSError):
        return (folder / _KEY_FILE).read_text("utf-8")
    return None


def _make(folder: Path, key: str, make: Callable[[Path], None]) -> None:
    for left in folder.parent.glob(f"{_WORK_PREFIX}*"):  # the lock was free, so their process has ended
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=_WORK_PREFIX) as work:
        new = Path(work) / "new"
        new.mkdir()
        make(new)
        (new / _KEY_FILE).write_text(key, "utf-8")
        if folder.exists():
            folder.rename(Path(work) / "incomplete")
        new.rename(folder)


def _prune(keep: Path, replaces: Callable[[str], bool]) -> None:
    for folder in keep.parent.iterdir():
        key = _key_of(folder)
        if folder != keep and key is not None and replaces(key) and not _is_in_use(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _mark_in_use(folder: Path) -> None:
    if folder not in _locks:
        lock = FileLock(folder.with_name(f"{folder.name}.{uuid.uuid4().hex}{_IN_USE}"))
        lock.acquire()
        _locks[folder] = lock


def _is_in_use(folder: Path) -> bool:
    for file in folder.parent.glob(f"{folder.name}.*{_IN_USE}"):
        lock = FileLock(file)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            return True
        lock.release()
        file.unlink(missing_ok=True)  # of a server that has ended
    return False
