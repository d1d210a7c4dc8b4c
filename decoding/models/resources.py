"""The resources of this machine: free memory and disk, and the errors for a model that does not fit.

Owns disk and memory; the limit of a container counts if it is lower. Knows nothing of a model but its size, and no
torch: `decoding.models.devices` asks the GPU.
"""

import errno
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

from decoding.errors import ModelError, RoomError
from decoding.messages import Message
from decoding.models.catalogue import format_bytes

SYSTEM = Path("/")
"""Where Linux shows its /proc and /sys."""
_UNLIMITED = 2**60  # version 1 reports no limit as a number like this
_NO_MEMORY = ("allocate memory", "bad_alloc", "CUBLAS_STATUS_ALLOC_FAILED", "CUDA error: out of memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out.

    torch mostly raises a RuntimeError with a message: for a CPU, for the workspace of cuBLAS, for a CUDA graph; ONNX
    Runtime errors of its own. A mapped file raises an OSError with the number ENOMEM.
    """
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    is_native = isinstance(error, RuntimeError) or type(error).__module__.startswith("onnxruntime.")
    return is_native and any(words in str(error) for words in _NO_MEMORY)


_limit = _UNLIMITED
"""The operator's limit for this process, in bytes."""


def limit_memory(most: int) -> None:
    """Limit the memory of this process to `most` bytes; see `bytes_under_limit`."""
    global _limit
    _limit = most


def resident_bytes() -> int:
    """Bytes of memory that this process takes now, without mapped files (weights, for one), which the system can
    reclaim.
    """
    taken = psutil.Process().memory_info()
    return int(taken.rss - getattr(taken, "shared", 0))  # only Linux reports it


def free_memory(system: Path = SYSTEM) -> int:
    """Bytes of memory that a model may take: what the system has available, at most what a container allows."""
    return max(0, min([psutil.virtual_memory().available, *(most - taken for most, taken in _cgroups(system))]))


def bytes_under_limit() -> int:
    """Bytes that this process may grow by; very large if the operator has set no limit."""
    return max(0, _limit - resident_bytes()) if _limit < _UNLIMITED else _UNLIMITED


def total_memory(system: Path = SYSTEM) -> int:
    """Bytes of memory of this machine, or of the container if that allows less."""
    return min([psutil.virtual_memory().total, *(most for most, _ in _cgroups(system))])


def free_disk(folder: Path) -> int:
    """Bytes free on the disk of `folder`, which need not exist yet."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    return shutil.disk_usage(there).free


def check_disk(model: str, needed: int, folder: Path) -> None:
    """Raises ModelError if `needed` bytes do not fit on the disk of `folder`."""
    if (free := free_disk(folder)) < needed:
        raise ModelError(
            Message("room.disk", model=model, needed=format_bytes(needed), folder=folder, free=format_bytes(free))
        )


def check_memory(model: str, needed: int, free: int, *, where: str, dtype: str) -> None:
    """Raises RoomError if `needed` bytes are more than `free` ones. `where` names the memory in the sentence."""
    if needed > free:
        raise RoomError(
            Message(
                "room.memory",
                model=model,
                needed=format_bytes(needed),
                where=where,
                dtype=dtype,
                free=format_bytes(free),
            )
        )


def _cgroups(system: Path) -> Iterator[tuple[int, int]]:
    """Bytes allowed and bytes used in each control group of this process, in version 1 or 2. Memory that the kernel can
    reclaim, such as cached files, does not count as used.
    """
    if sys.platform != "linux":
        return
    files = (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    )
    for folder in _cgroup_folders(system):
        for limit, used, cache in files:
            try:
                most = int((folder / limit).read_text())  # "max" (no limit) is no number
                taken = int((folder / used).read_text())
                lines = (folder / "memory.stat").read_text().splitlines()
            except (OSError, ValueError):
                continue
            if most < _UNLIMITED:
                stat = dict(line.split(" ", 1) for line in lines if " " in line)
                yield most, taken - int(stat.get(cache, 0))


def _cgroup_folders(system: Path) -> Iterator[Path]:
    """The folders of this process's control group and its parents; in a container, its own is the root."""
    try:
        lines = (system / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if controllers in ("", "memory"):
            top = system / "sys/fs/cgroup" / controllers
            inside = top / name.lstrip("/")
            yield from (folder for folder in (inside, *inside.parents) if folder.is_relative_to(top))
