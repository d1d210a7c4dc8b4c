"""Which graphs of the cache nothing needs any more, and their removal.

Owns the record of a graph's source, a file beside the graph's folder. A graph goes when an earlier VERSION built it, or
when its source was changed, moved or deleted. Where that is not certain it stays: another machine's record in a shared
cache, or a source that this user may not read, or on a disk that is not here now.
"""

import json
import os
import platform
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from decoding.models.checksums import is_complete

WORK_PREFIX, LOCK, REFUSED, VERSION_FILE = "making-", ".lock", ".refused", "version"
_RECORD = ".source"
_NAME = re.compile(r"(?:making-)?(.*-[0-9a-f]{16})(?:-\w+|\.lock|\.refused|\.source)?")
"""A graph's name, in that of its folder, its work folders and the files beside it."""


def record_source(ready: Path, source: Path) -> None:
    """Write where the graph in the folder `ready` comes from, unless that is recorded."""
    path, file = source.absolute(), ready.with_name(ready.name + _RECORD)
    mounts = sorted({str(_mount_of(one)) for one in (path, path.resolve())})  # a link may lead to another disk
    record = json.dumps([platform.node(), str(path), mounts]).encode()
    with suppress(OSError):  # of a cache that is read-only
        if not file.exists() or file.read_bytes() != record:
            file.write_bytes(record)


def delete_stale(cache: Path, name_of: Callable[[Path], str], *, version: int, kept: str) -> None:
    """Delete every graph but `kept` that nothing needs, the files beside it, and what killed processes left. `name_of`
    names the graph of a source as it is now.
    """
    import filelock  # imported here, because a warm start needs no lock

    with suppress(OSError):  # a graph that cannot be deleted costs room, and nothing else
        for name in sorted({found[1] for path in cache.iterdir() if (found := _NAME.fullmatch(path.name))} - {kept}):
            ready = cache / name
            if not _deletable_paths(ready, name_of, version):
                continue
            with suppress(OSError), filelock.FileLock(ready.with_name(name + LOCK), timeout=0):  # else it is being made
                for path in _deletable_paths(ready, name_of, version):
                    _delete(path)


def _deletable_paths(ready: Path, name_of: Callable[[Path], str], version: int) -> list[Path]:
    """What may be deleted of a graph: all, or only its work folders if it is needed. Its lock, an empty file, stays: a
    process that waits for it would otherwise lock a deleted file, and a third one a new file, both at once.
    """
    node, source, mounts = _record_of(ready)
    if node not in ("", platform.node()):
        return []  # where another machine shares the cache, it may not share the locks
    paths = list(ready.parent.glob(f"{WORK_PREFIX}{ready.name}-*"))
    if is_complete(ready) and (built_by := _version_of(ready)) != version:
        is_needed = built_by > version
    else:
        is_needed = _is_source_of(ready, source, mounts, name_of) if node else is_complete(ready)
    beside = () if is_needed else (ready, *(ready.with_name(ready.name + ending) for ending in (REFUSED, _RECORD)))
    return [*paths, *(path for path in beside if path.exists())]


def _record_of(ready: Path) -> tuple[str, str, list[str]]:
    """The machine, the path of the source and the mounts that hold it; empty until the graph is next opened."""
    try:
        node, source, mounts = json.loads(ready.with_name(ready.name + _RECORD).read_bytes())
        return str(node), str(source), [*map(str, mounts)]
    except (OSError, ValueError, TypeError):
        return "", "", []


def _is_source_of(ready: Path, source: str, mounts: list[str], name_of: Callable[[Path], str]) -> bool:
    """Whether the source would have this graph now, or may have it where that cannot be seen."""
    try:
        return name_of(Path(source)) == ready.name
    except (FileNotFoundError, NotADirectoryError):
        is_here = all(os.path.ismount(one) and os.path.exists(one) for one in mounts)
        return os.path.lexists(source) or not is_here
    except (OSError, ValueError):
        return True


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
