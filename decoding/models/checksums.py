"""Checksums of a folder of files: sizes, checked at each use, and sha256 sums, checked at each load.

Owns the two lists that are stored beside the files; `sha256sum -c` can read the sums. Knows no model. A disk may change
a byte, and then a model writes nonsense that looks like any other run.
"""

import hashlib
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from decoding.errors import ModelError
from decoding.messages import Message

_PIECE = 2**23  # bytes
CONTENTS_FILE, SUMS_FILE = "contents.json", "SHA256SUMS"


def write_checksums(folder: Path) -> None:
    """Write the size and the sha256 of each file of a folder, and sync all files to disk."""
    names = sorted({path.name for path in folder.iterdir()} - {CONTENTS_FILE, SUMS_FILE})
    (folder / SUMS_FILE).write_text("".join(f"{_sha256(folder / name)}  {name}\n" for name in names), "utf-8")
    sizes = {name: (folder / name).stat().st_size for name in (*names, SUMS_FILE)}
    (folder / CONTENTS_FILE).write_text(json.dumps(sizes, indent=1) + "\n", "utf-8")
    mode = (folder / CONTENTS_FILE).stat().st_mode  # safetensors writes files that only their owner may read
    for path in folder.iterdir():
        path.chmod(mode)
        sync_to_disk(path)
    sync_to_disk(folder)


def is_complete(folder: Path) -> bool:
    """Whether each file exists with the size it was written with. A folder without a list of sums is incomplete."""
    try:
        sizes = json.loads((folder / CONTENTS_FILE).read_text("utf-8"))
        return SUMS_FILE in sizes and all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, AttributeError, TypeError):
        return False


@contextmanager
def verifying_checksums(folder: Path, changed: Callable[..., Message]) -> Iterator[None]:
    """Check the files against their sha256 in a thread, while the body of the `with` statement loads them.

    Raises ModelError at the end of the body with the message that `changed` makes of a changed `file`, and marks the
    folder as incomplete. A list of sums that cannot be read counts as changed.
    """
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.extend(_changed_files(folder)), name="sums", daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join()
        if found:
            with suppress(OSError):  # if this fails, the next load finds the change again
                (folder / CONTENTS_FILE).unlink()
            raise ModelError(changed(file=found[0]))


def sync_to_disk(path: Path) -> None:
    """Write a file, or the entries of a folder, to disk before going on (fsync)."""
    if path.is_file() or sys.platform != "win32":  # Windows cannot open a folder
        handle = os.open(path, os.O_RDWR if path.is_file() else os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _changed_files(folder: Path) -> Iterator[str]:
    try:
        lines = (folder / SUMS_FILE).read_text("utf-8").splitlines()
    except (OSError, ValueError):
        yield SUMS_FILE
        return
    for line in lines:
        sha256, _, name = line.partition("  ")
        try:
            if _sha256(folder / name) == sha256:
                continue
        except OSError:  # gone, or the disk cannot read it any more
            pass
        yield name


def _sha256(path: Path) -> str:
    """Reads large blocks: each block waits for the interpreter lock, and half a GB took seconds while modules were
    imported.
    """
    found, piece = hashlib.sha256(), memoryview(bytearray(_PIECE))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(piece):
            found.update(piece[:count])
    return found.hexdigest()
