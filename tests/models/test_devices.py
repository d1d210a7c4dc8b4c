"""Which device and dtype are chosen, and what is said about it, on machines that this one is not."""

import ctypes
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch

import decoding
from decoding.errors import RequestError, RoomError
from decoding.models.devices import choose_device, disable_tf32, place

GB = 1_000_000_000


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A machine: which GPUs it has, and bytes free in memory and on them."""
    has = SimpleNamespace(cuda=False, mps=False, memory=16 * GB, gpu=8 * GB)
    monkeypatch.delenv("SPACES_ZERO_GPU", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has.cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: has.mps)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (has.gpu - GB, 99 * GB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: 3 * GB)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: 2 * GB)  # a GB is held for reuse: free for us
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: has.gpu)
    monkeypatch.setattr(torch.mps, "driver_allocated_memory", lambda: 0)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=has.memory))

    def driver(name: str, *options: Any, **more: Any) -> Any:
        if name not in ("libcuda.so.1", "nvcuda.dll"):
            return load_library(name, *options, **more)
        if not (has.cuda or has.mps):
            raise OSError(f"{name}: there is no such driver")
        return None

    load_library = ctypes.CDLL
    monkeypatch.setattr(ctypes, "CDLL", driver)
    return has


def test_the_order(machine: Any, monkeypatch: pytest.MonkeyPatch):
    assert choose_device("auto") == ("cpu", "no GPU was found")
    with pytest.raises(RequestError, match=r'^This machine has no "cuda" device: choose "auto" or "cpu"\.$'):
        choose_device("cuda")
    machine.mps = True
    assert choose_device("auto") == ("mps", "Apple's GPU was found")
    machine.cuda = True
    assert choose_device("auto") == ("cuda", "a CUDA GPU was found")
    assert choose_device("cpu") == ("cpu", "cpu was asked for")
    machine.cuda = False  # as ZeroGPU's GPU is not there before it is lent
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    assert choose_device("auto") == ("cuda", "ZeroGPU lends a GPU")


def test_no_such_device_or_dtype():
    with pytest.raises(RequestError, match=r'^There is no device "tpu": choose one of auto, cuda, mps, cpu\.$'):
        decoding.load("starter", device="tpu")
    with pytest.raises(
        RequestError, match=r'^There is no dtype "int8": choose one of auto, float32, bfloat16, float16\.$'
    ):
        decoding.load("starter", dtype="int8")


def chosen(parameters: int, device: str = "auto", dtype: str = "auto") -> tuple[str, str, str]:
    placed = place("model", parameters, device=device, dtype=dtype)
    return placed.device, placed.dtype, placed.why


def test_float32_where_it_fits_comfortably_else_bfloat16(machine: Any):
    assert chosen(GB) == ("cpu", "float32", "no GPU was found; float32 fits")
    machine.memory = 6 * GB  # 4.9 would fit, though not comfortably
    assert chosen(GB) == ("cpu", "bfloat16", "no GPU was found; float32 would take 4.9 GB of 6.0 GB free")
    machine.memory = 2 * GB
    with pytest.raises(RoomError, match=r"^model needs 2\.6 GB of memory in bfloat16, and 2\.0 GB is free\."):
        chosen(GB)


def test_a_requested_dtype_is_used_or_refused(machine: Any):
    machine.memory = 5 * GB
    assert chosen(GB, dtype="float32") == ("cpu", "float32", "no GPU was found; float32 was asked for")
    assert chosen(GB, "cpu", "float16") == ("cpu", "float16", "cpu was asked for; float16 was asked for")
    machine.memory = 4 * GB
    with pytest.raises(RoomError, match=r"^model needs 4\.9 GB of memory in float32, and 4\.0 GB is free\."):
        chosen(GB, dtype="float32")


def test_a_gpus_own_memory_counts(machine: Any):
    machine.cuda = True
    assert chosen(GB) == ("cuda", "float32", "a CUDA GPU was found; float32 fits")
    machine.gpu = 5 * GB
    assert chosen(GB) == ("cuda", "bfloat16", "a CUDA GPU was found; float32 would take 4.9 GB of 5.0 GB free")
    machine.gpu = 2 * GB
    with pytest.raises(RoomError, match=r"^model needs 2\.6 GB of the GPU's memory in bfloat16, and 2\.0 GB is free\."):
        chosen(GB)
    machine.gpu, machine.memory = 8 * GB, 3 * GB  # the way to the GPU leads through memory
    with pytest.raises(RoomError, match=r"^model needs 4\.0 GB of memory in float32, and 3\.0 GB is free\."):
        chosen(GB)
    machine.cuda, machine.mps = False, True
    assert chosen(GB)[:2] == ("mps", "bfloat16")


def test_unknown_memory_refuses_no_model(machine: Any, monkeypatch: pytest.MonkeyPatch):
    machine.memory = 0
    assert chosen(0) == ("cpu", "float32", "no GPU was found; float32 is exact")
    machine.memory = 16 * GB
    monkeypatch.setenv("SPACES_ZERO_GPU", "1")
    assert chosen(GB) == ("cuda", "float32", "ZeroGPU lends a GPU; float32 fits")


def test_products_in_float32_are_float32(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    torch.set_float32_matmul_precision("high")
    disable_tf32()
    assert torch.get_float32_matmul_precision() == "highest"
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32


def test_a_load_says_why(machine: Any, starter: decoding.engines.local_engine.LocalEngine):
    assert starter.info.why.startswith("cpu was asked for; float32 ")
