"""Devices: where a model runs and in which dtype, and the reasons for both.

Owns the order of devices and the choice of a dtype. Knows nothing of a model but its size. torch takes seconds to
import, so it is imported only if there may be a GPU.
"""

import ctypes
import os
import sys
from dataclasses import dataclass

from decoding.errors import RequestError
from decoding.messages import Message
from decoding.models.catalogue import BYTES_PER_PARAMETER, format_bytes, memory_needed
from decoding.models.resources import check_memory, free_memory

DEVICES = ("auto", "cuda", "mps", "cpu")
DTYPES = ("auto", "float32", "bfloat16", "float16")
COMFORT = 0.8
"""A model fits comfortably if it takes at most this share of the free memory."""


@dataclass(frozen=True, slots=True)
class Placement:
    """A device, a dtype, and the reasons for both, which the page's header shows."""

    device: str
    dtype: str
    why: str


def is_zero_gpu() -> bool:
    """Whether this is a Space on ZeroGPU, which lends a GPU for the length of a call. Reads the environment alone."""
    return os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")


def place(model: str, parameters: int, *, device: str, dtype: str) -> Placement:
    """Choose a device and a dtype for a model with this number of `parameters` (0: unknown).

    The device "auto" is the first available one of ZeroGPU, CUDA, MPS and CPU; the dtype "auto" is float32 if that fits
    comfortably, else bfloat16. Raises RequestError for a device or dtype that does not exist, RoomError for a model
    that does not fit.
    """
    check_dtype(dtype)
    chosen, why = choose_device(device)
    where = Message("room.memory.cpu") if chosen == "cpu" else Message("room.memory.gpu")
    free = free_bytes_on(chosen) if parameters else None
    name, reason = dtype, Message("why.asked", name=dtype)
    if dtype == "auto":
        name, reason = "float32", Message("why.fits") if parameters else Message("why.exact")
        whole = memory_needed(parameters, name)
        if free is not None and whole > COMFORT * free:
            name, reason = "bfloat16", Message("why.tight", whole=format_bytes(whole), free=format_bytes(free))
    if free is not None:
        check_memory(model, memory_needed(parameters, name), free, where=where, dtype=name)
    if chosen == "cuda":  # while loading, the weights pass through the machine's own memory
        check_memory(
            model, parameters * BYTES_PER_PARAMETER[name], free_memory(), where=Message("room.memory.cpu"), dtype=name
        )
    return Placement(chosen, name, Message("why", device=why, dtype=reason))


def check_dtype(dtype: str) -> None:
    """Raises RequestError for a dtype that does not exist."""
    if dtype not in DTYPES:
        raise RequestError(Message("dtype.unknown", dtype=dtype, dtypes=", ".join(DTYPES)), field="model")


def choose_device(device: str) -> tuple[str, str]:
    """The device that `device` means on this machine, and the reason. Raises RequestError if it does not exist."""
    there = _available_devices() if device != "cpu" else {"cpu": True}
    if device == "auto":
        first = next(name for name, available in there.items() if available)
        found = {
            "cuda": Message("why.zero_gpu") if is_zero_gpu() else Message("why.cuda"),
            "mps": Message("why.mps"),
        }
        return first, found.get(first, Message("why.no_gpu"))
    if device not in DEVICES:
        raise RequestError(Message("device.unknown", device=device, devices=", ".join(DEVICES)), field="model")
    if not there[device]:
        raise RequestError(Message("device.missing", device=device), field="model")
    return device, Message("why.asked", name=device)


def _available_devices() -> dict[str, bool]:
    if not is_zero_gpu() and not may_have_gpu():
        return {"cuda": False, "mps": False, "cpu": True}
    import torch

    return {
        "cuda": is_zero_gpu() or torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }


def may_have_gpu() -> bool:
    """Whether torch may find a GPU: a GPU driver is installed, or this is a Mac."""
    if sys.platform == "darwin":
        return True
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return os.path.exists("/dev/kfd")  # an AMD driver; torch calls that device "cuda" too
    return True


def free_bytes_on(device: str) -> int | None:
    """Bytes that a model may take on a device; None on ZeroGPU, whose GPU is not available yet."""
    if device == "cpu":
        return free_memory()
    import torch

    if device == "mps":  # shares the machine's memory
        return min(free_memory(), torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
    if is_zero_gpu():
        return None
    free, _ = torch.cuda.mem_get_info()
    return free + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()


def disable_tf32() -> None:
    """Compute products of float32 in float32 on any GPU, not in TF32."""
    import torch

    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
