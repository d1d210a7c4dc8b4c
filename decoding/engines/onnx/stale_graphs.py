"""Which graphs of the cache nothing needs any more, and their removal.

Owns the record of a graph's source, a file in the graph's folder. A graph goes when an earlier VERSION built it, or
when its source was changed, moved or deleted. Where that is not certain it stays: another machine's record in a shared
cache, or a source that this user may not read, or on a disk that is not here now. What another machine was making stays
for a day, since the name of a container's machine changes at each start.
"""

import json
import os
import platform
import re
import secrets
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from decoding.models.checksums import is_complete

WORK_PREFIX, VERSION_FILE = "making-", "version"
_RECORD = "source"
_NAME = re.compile(r".*-[0-9a-f]{16}")
_LONGEST_BUILD = 24 * 3600
"""Seconds for which another machine may be at work on a graph, or an earlier VERSION, which kept no record inside."""
_EARLIER_FILES = (".lock", ".refused", ".source")
"""Up to VERSION 10 these lay beside a graph's folder."""


def record_source(folder: Path, source: Path) -> None:
    """Write where the graph in a folder comes from, unless that is recorded."""
    path, file = source.absolute(), folder / _RECORD
    mounts = sorted({str(_mount_of(one)) for one in (path, path.resolve())})  # a link may lead to another disk
    record = json.dumps([platform.node(), str(path), mounts]).encode()
    with suppress(OSError):  # of a cache that is read-only
        if not file.exists() or file.read_bytes() != record:
            file.write_bytes(record)


def delete_stale(cache: Path, name_of: Callable[[Path], str], *, version: int) -> None:
    """Delete every graph that nothing needs, and what killed processes left. `name_of` names the graph of a source as
    it is now. The caller holds the cache's lock.
    """
    for path in sorted(cache.iterdir()):
        with suppress(OSError):  # what cannot be deleted costs room, and nothing else
            if path.is_dir():
                if not _is_needed(path, name_of, version):
                    _delete(path)
            elif path.suffix in _EARLIER_FILES and _NAME.fullmatch(path.stem) and not path.with_suffix("").exists():
                path.unlink()


def _is_needed(folder: Path, name_of: Callable[[Path], str], version: int) -> bool:
    is_work = folder.name.startswith(WORK_PREFIX)
    if not is_work and not _NAME.fullmatch(folder.name):
        return True  # it is not ours
    node, source, mounts = _record_of(folder)
    if is_work:  # the lock was free, so a process of this machine has ended; another machine may not share the lock
        return node != platform.node() and time.time() < folder.stat().st_mtime + _LONGEST_BUILD
    if node not in ("", platform.node()):
        return True
    is_whole = is_complete(folder)
    if is_whole and (built_by := _version_of(folder)) != version:
        return built_by > version
    return _is_source_of(folder, source, mounts, name_of) if node else is_whole


def _record_of(folder: Path) -> tuple[str, str, list[str]]:
    """The machine, the path of the source and the mounts that hold it; empty until the graph is next opened."""
    earlier = folder.with_name(f"{folder.name}.source")
    try:
        node, source, mounts = json.loads((earlier if earlier.exists() else folder / _RECORD).read_bytes())
        return str(node), str(source), [*map(str, mounts)]
    except (OSError, ValueError, TypeError):
        return "", "", []


def _is_source_of(folder: Path, source: str, mounts: list[str], name_of: Callable[[Path], str]) -> bool:
    """Whether the source would have this graph now, or may have it where that cannot be seen."""
    try:
        return name_of(Path(source)) == folder.name
    except (FileNotFoundError, NotADirectoryError):
        is_here = all(os.path.ismount(one) and os.path.exists(one) for one in mounts)
        return os.path.lexists(source) or not is_here
    except (OSError, ValueError):
        return True


def _version_of(folder: Path) -> int:
    with suppress(OSError, ValueError):
        return int((folder / VERSION_FILE).read_text("utf-8"))
    return 0  # a folder without the file is older than any with it


def _delete(folder: Path) -> None:
    """It is renamed first: it goes as a whole, and on Windows not while a process has it open."""
    if not folder.name.startswith(WORK_PREFIX):
        folder = folder.rename(folder.with_name(f"{WORK_PREFIX}{folder.name}-{secrets.token_hex(4)}"))
    shutil.rmtree(folder, ignore_errors=True)


def _mount_of(path: Path) -> Path:
    return next((one for one in (path, *path.parents) if os.path.ismount(one)), path)
