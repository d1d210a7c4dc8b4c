"""Which graphs of the cache nothing needs any more, and their removal.

Owns the record of a graph's source, a file beside the graph's folder. A graph goes when an earlier VERSION built it, or
when its source was changed, moved or deleted. Where that is not certain it stays: another machine's record in a shared
cache, or a source on a disk that is not here now. Knows no graph.
"""

import json
import os
import platform
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from decoding.models.checksums import is_complete

WORK_PREFIX, LOCK, REFUSED, VERSION_FILE = "making-", ".lock", ".refused", "version"
_RECORD = ".source"
_NAME = re.compile(rf"(?:{WORK_PREFIX})?(.*-[0-9a-f]{{16}})(?:-\w+|{LOCK}|{REFUSED}|{_RECORD})?")
"""A graph's name, in that of its folder, its work folders and the files beside it."""


def record_source(ready: Path, source: Path) -> None:
    """Write where the graph in the folder `ready` comes from, unless that is recorded."""
    path, file = source.absolute(), ready.with_name(ready.name + _RECORD)
    mounts = sorted({str(_mount_of(one)) for one in (path, path.resolve())})  # a link may lead to another disk
    record = json.dumps([platform.node(), str(path), mounts])
    with suppress(OSError):  # of a cache that is read-only
        if not file.exists() or file.read_text("utf-8") != record:
            file.write_text(record, "utf-8")


def delete_stale(cache: Path, name_of: Callable[[Path], str], *, version: int, kept: str) -> None:
    """Delete every graph but `kept` that nothing needs, the files beside it, and what killed processes left. `name_of`
    names the graph of a source as it is now.
    """
    import filelock  # imported here, because a warm start needs no lock

    for name in sorted({found[1] for path in cache.iterdir() if (found := _NAME.fullmatch(path.name))} - {kept}):
        ready = cache / name
        if any(_left_of(ready, name_of, version)):
            lock = filelock.FileLock(ready.with_name(name + LOCK))
            with suppress(OSError), lock.acquire(timeout=0):  # else another process is making it
                for path in _left_of(ready, name_of, version):
                    _delete(path)


def _left_of(ready: Path, name_of: Callable[[Path], str], version: int) -> Iterator[Path]:
    """What may be deleted of a graph: all, its lock last, or only the work folders if it is needed."""
    yield from list(ready.parent.glob(f"{WORK_PREFIX}{ready.name}-*"))
    if not _is_needed(ready, name_of, version):
        beside = (ready.with_name(ready.name + ending) for ending in (REFUSED, _RECORD, LOCK))
        yield from (path for path in (ready, *beside) if path.exists())


def _is_needed(ready: Path, name_of: Callable[[Path], str], version: int) -> bool:
    if is_complete(ready) and (built_by := _version_of(ready)) != version:
        return built_by > version
    try:
        node, path, mounts = json.loads(ready.with_name(ready.name + _RECORD).read_text("utf-8"))
    except (OSError, ValueError, TypeError):
        return is_complete(ready)  # its source is recorded when it is next opened
    try:
        return node != platform.node() or name_of(Path(path)) == ready.name
    except (OSError, ValueError):
        return os.path.lexists(path) or not all(map(os.path.ismount, mounts))


def _version_of(folder: Path) -> int:
    with suppress(OSError, ValueError):
        return int((folder / VERSION_FILE).read_text("utf-8"))
    return 0  # a folder without the file is older than any with it


def _delete(path: Path) -> None:
    """A graph's folder is renamed first: it goes as a whole, and on Windows not while a process has it open."""
    if not path.is_dir():
        path.unlink()
        return
    if not path.name.startswith(WORK_PREFIX):
        path = path.rename(path.with_name(f"{WORK_PREFIX}{path.name}-old"))
    shutil.rmtree(path, ignore_errors=True)


def _mount_of(path: Path) -> Path:
    return next((one for one in (path, *path.parents) if os.path.ismount(one)), path)
