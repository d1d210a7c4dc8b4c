"""Where a model runs and in which dtype: what was asked for, what there is, and why it came out so.

Owns the order of devices and the choice of a dtype. Knows no model but its size. torch takes seconds to import, and is
asked only where there may be a GPU.
"""

import ctypes
import os
import sys
from dataclasses import dataclass

from decoding.errors import RequestError
from decoding.models.catalogue import BYTES_PER_PARAMETER, memory_needed, size
from decoding.models.resources import check_memory, free_memory

DEVICES = ("auto", "cuda", "mps", "cpu")
DTYPES = ("auto", "float32", "bfloat16", "float16")
COMFORT = 0.8
"""The share of the free memory up to which a model fits comfortably."""


@dataclass(frozen=True, slots=True)
class Placement:
    """A device, a dtype, and the reasons for both, as they stand in the page's header."""

    device: str
    dtype: str
    why: str


def is_zero_gpu() -> bool:
    """Whether this is a Space on ZeroGPU, which lends a GPU for the length of a call. Reads the environment alone."""
    return os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")


def place(model: str, parameters: int, *, device: str, dtype: str) -> Placement:
    """Where a model of so many parameters (0: nobody knows) runs on this machine, and in which dtype.

    "auto" takes the first device there is of ZeroGPU, CUDA, MPS, CPU, and float32 where that fits comfortably, else
    bfloat16. Raises RequestError for what does not exist, RoomError for a model that does not fit.
    """
    check_dtype(dtype)
    chosen, why = choose_device(device)
    where = "memory" if chosen == "cpu" else "the GPU's memory"
    free = free_on(chosen) if parameters else None
    name, reason = dtype, f"{dtype} was asked for"
    if dtype == "auto":
        name, reason = "float32", "float32 fits" if parameters else "float32 is exact"
        whole = memory_needed(parameters, name)
        if free is not None and whole > COMFORT * free:
            name, reason = "bfloat16", f"float32 would take {size(whole)} of {size(free)} free"
    if free is not None:
        check_memory(model, memory_needed(parameters, name), free, where=where, dtype=name)
    if chosen == "cuda":  # on their way, the weights are in the machine's own memory
        check_memory(model, parameters * BYTES_PER_PARAMETER[name], free_memory(), where="memory", dtype=name)
    return Placement(chosen, name, f"{why}; {reason}")


def check_dtype(dtype: str) -> None:
    """Raises RequestError for one that does not exist."""
    if dtype not in DTYPES:
        raise RequestError(f'There is no dtype "{dtype}": choose one of {", ".join(DTYPES)}.', field="model")


def choose_device(device: str) -> tuple[str, str]:
    """The device that `device` means on this machine, and why."""
    there = _devices_here() if device != "cpu" else {"cpu": True}
    if device == "auto":
        first = next(name for name, available in there.items() if available)
        found = {
            "cuda": "ZeroGPU lends a GPU" if is_zero_gpu() else "a CUDA GPU was found",
            "mps": "Apple's GPU was found",
        }
        return first, found.get(first, "no GPU was found")
    if device not in there:
        raise RequestError(f'There is no device "{device}": choose one of {", ".join(DEVICES)}.', field="model")
    if not there[device]:
        raise RequestError(f'This machine has no "{device}" device: choose "auto" or "cpu".', field="model")
    return device, f"{device} was asked for"


def _devices_here() -> dict[str, bool]:
    if not is_zero_gpu() and not may_have_gpu():
        return {"cuda": False, "mps": False, "cpu": True}
    import torch

    return {
        "cuda": is_zero_gpu() or torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }


def may_have_gpu() -> bool:
    """Whether torch could know a GPU here: where a GPU's driver is installed, or on Apple's own processors."""
    if sys.platform == "darwin":
        return True
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return os.path.exists("/dev/kfd")  # AMD's, which torch calls "cuda" too
    return True


def free_on(device: str) -> int | None:
    """Bytes that a model may take on a device; None where it cannot be asked before it is lent."""
    if device == "cpu":
        return free_memory()
    import torch

    if device == "mps":  # shares the machine's memory
        return min(free_memory(), torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
    if is_zero_gpu():
        return None
    free, _ = torch.cuda.mem_get_info()
    return free + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()


def exact_products() -> None:
    """Have products in float32 be float32, on any GPU: no TF32."""
    import torch

    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
