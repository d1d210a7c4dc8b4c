"""A folder of files that are as they were written: their sizes, looked at whenever it is used, and their sha256.

Owns the two lists that lie beside the files; the sums are as `sha256sum -c` reads them. Knows no model. A disk may
change a byte, and then a model writes nonsense that looks like any other run, so its files are held against their sums
whenever they are loaded.
"""

import hashlib
import json
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from decoding.errors import ModelError

_PIECE = 2**23  # bytes
CONTENTS_FILE, SUMS_FILE = "contents.json", "SHA256SUMS"


def seal(folder: Path) -> None:
    """Write down how long each file is and what its sum is, and see all of it on the disk."""
    names = sorted({path.name for path in folder.iterdir()} - {CONTENTS_FILE, SUMS_FILE})
    (folder / SUMS_FILE).write_text("".join(f"{_sha256(folder / name)}  {name}\n" for name in names), "utf-8")
    sizes = {name: (folder / name).stat().st_size for name in (*names, SUMS_FILE)}
    (folder / CONTENTS_FILE).write_text(json.dumps(sizes, indent=1) + "\n", "utf-8")
    mode = (folder / CONTENTS_FILE).stat().st_mode  # safetensors' own shuts out everybody else
    for path in folder.iterdir():
        path.chmod(mode)
        flush(path)
    flush(folder)


def is_whole(folder: Path) -> bool:
    """Whether each file is there and as long as it was when written, the sums among them: a folder that was sealed
    before there were sums has to be made again.
    """
    try:
        sizes = json.loads((folder / CONTENTS_FILE).read_text("utf-8"))
        return SUMS_FILE in sizes and all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, AttributeError, TypeError):
        return False


@contextmanager
def unchanged(folder: Path, sentence: str) -> Iterator[None]:
    """Hold the files against their sums, in a thread of its own, while they are loaded. Raises ModelError with the
    sentence, in which {file} is the one that was changed; the folder is whole no more then. Sums that cannot be
    read are a file that was changed.
    """
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.extend(_changed(folder)), name="sums", daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join()
        if found:
            with suppress(OSError):  # else it is found again
                (folder / CONTENTS_FILE).unlink()
            raise ModelError(sentence.format(file=found[0]))


def flush(path: Path) -> None:
    """See a file, or the names in a folder, on the disk."""
    if path.is_file() or sys.platform != "win32":  # there, a folder cannot be opened
        handle = os.open(path, os.O_RDWR if path.is_file() else os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _changed(folder: Path) -> Iterator[str]:
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
    """In large pieces: for each of them a busy Python is waited for, and half a GB took seconds beside imports."""
    found, piece = hashlib.sha256(), memoryview(bytearray(_PIECE))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(piece):
            found.update(piece[:count])
    return found.hexdigest()
