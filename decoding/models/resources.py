"""What is free on this machine, and the sentences that refuse what does not fit, with both numbers.

Owns disk and memory; a container's own limit counts where it is the tighter one. Knows no model but its size, and no
torch: `decoding.models.devices` asks the GPU.
"""

import errno
import json
import math
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

from decoding.errors import ModelError, RoomError
from decoding.models.catalogue import size

_CGROUPS = Path("/sys/fs/cgroup")
_UNLIMITED = 2**60  # what version 1 says where there is no limit
_MAX_HEADER_BYTES = 100_000_000  # safetensors' own limit


DID_NOT_FIT = "{model} did not fit into the free memory after all. Choose a smaller model, or free some memory."
OUT_OF_MEMORY = "The model ran out of memory. Use a shorter prompt or fewer steps, or wait a little."


_NO_MEMORY = ("allocate memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDA error: out of memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says so. torch mostly says it in a RuntimeError's words: those of a CPU, of cuBLAS where its
    workspace finds no room, of CUDA where a graph does not. A file that is mapped says it in an OSError's number.
    """
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY)


_limit = _UNLIMITED
"""What the operator lets this process have."""


def limit_memory(most: int) -> None:
    """Have this process count no more than so many bytes as its own."""
    global _limit
    _limit = most


def resident() -> int:
    """Bytes of memory that this process takes now, without those of files that it has mapped, as weights may be: the
    system can take these back.
    """
    taken = psutil.Process().memory_info()
    return int(taken.rss - getattr(taken, "shared", 0))  # which Linux alone tells


def free_memory() -> int:
    """Bytes of memory that a model may take: what the system has to give, and what a container lets us have."""
    return max(0, min([psutil.virtual_memory().available, *(most - taken for most, taken in _cgroups())]))


def left_to_us() -> int:
    """Bytes that this process may grow by, where the operator has set a limit."""
    return max(0, _limit - resident()) if _limit < _UNLIMITED else _UNLIMITED


def total_memory() -> int:
    """Bytes of memory that this machine has, or that a container lets us have of it."""
    return min([psutil.virtual_memory().total, *(most for most, _ in _cgroups())])


def free_disk(folder: Path) -> int:
    """Bytes free where `folder` is, or will be."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    return shutil.disk_usage(there).free


def check_disk(model: str, needed: int, folder: Path) -> None:
    """Raises ModelError where `needed` bytes have no room in `folder`."""
    if (free := free_disk(folder)) < needed:
        raise ModelError(
            f"{model} needs {size(needed)} on the disk of {folder}, where {size(free)} is free. Free some, or set "
            "HF_HOME to a folder on a larger disk."
        )


def check_memory(model: str, needed: int, free: int, *, where: str, dtype: str) -> None:
    """Raises RoomError where `needed` bytes are more than are `free`."""
    if needed > free:
        raise RoomError(
            f"{model} needs {size(needed)} of {where} in {dtype}, and {size(free)} is free. Choose a smaller model, or "
            "free some memory."
        )


def parameters_in(folder: Path) -> int:
    """The number of parameters in the files that a folder's model is loaded from, read from their headers; 0 where
    those cannot be read. The same weights in another format, an adapter and what else lies beside them do not count.
    """
    try:
        return sum(_parameters(path, loaded) for path, loaded in _weights(folder))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return 0  # the loader says what is wrong with them


def _weights(folder: Path) -> list[tuple[Path, frozenset[str] | None]]:
    """The files that are loaded, each with the names of its tensors that are (None: all of them)."""
    if (whole := folder / "model.safetensors").exists():
        return [(whole, None)]
    if not (index := folder / "model.safetensors.index.json").exists():
        return [(path, None) for path in folder.glob("model*.safetensors")]
    files: dict[str, set[str]] = {}
    for tensor, file in json.loads(index.read_text("utf-8"))["weight_map"].items():
        files.setdefault(file, set()).add(tensor)
    return [(folder / file, frozenset(tensors)) for file, tensors in files.items()]


def _parameters(file: Path, loaded: frozenset[str] | None) -> int:
    # A file of safetensors begins with the length of its header, and the header is JSON.
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        header = json.loads(opened.read(min(length, _MAX_HEADER_BYTES)))
    return sum(
        math.prod(tensor["shape"])
        for name, tensor in header.items()
        if name != "__metadata__" and (loaded is None or name in loaded)
    )


def _cgroups() -> Iterator[tuple[int, int]]:
    """Bytes allowed and bytes taken in each control group that this process is in, of either version. What the kernel
    can take back, as files that were read, is not counted as taken.
    """
    if sys.platform != "linux":
        return
    files = (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    )
    for folder in _cgroup_folders():
        for limit, used, cache in files:
            try:
                most = int((folder / limit).read_text())  # "max", where there is none, is no number
                taken = int((folder / used).read_text())
                lines = (folder / "memory.stat").read_text().splitlines()
            except (OSError, ValueError):
                continue
            if most < _UNLIMITED:
                stat = dict(line.split(" ", 1) for line in lines if " " in line)
                yield most, taken - int(stat.get(cache, 0))


def _cgroup_folders() -> Iterator[Path]:
    """This process's control group and those around it; in a container, its own is the root."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if controllers in ("", "memory"):
            top = _CGROUPS / controllers
            inside = top / name.lstrip("/")
            yield from (folder for folder in (inside, *inside.parents) if folder.is_relative_to(top))
