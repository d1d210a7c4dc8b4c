"""Reads safetensors files: which tensors they have, and where.

Owns the reading of headers, whose figures are all checked against the size of the file. Knows no model family and no
torch. Raises ValueError and OSError for every fault.
"""

import json
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from decoding.models.gguf_blocks import Floats

_MAX_HEADER_BYTES = 100_000_000  # safetensors' own limit
WIDTHS = {"F32": 4, "F16": 2, "BF16": 2}
"""Bytes per value of the dtypes that are supported."""


@dataclass(frozen=True, slots=True)
class StoredTensor:
    file: Path
    dtype: str
    shape: tuple[int, ...]
    offset: int
    """From the beginning of the file."""

    def read(self) -> Floats:
        """The values, in the shape of the tensor, float32. Raises ValueError or OSError if they are not there."""
        width = WIDTHS[self.dtype]
        raw = np.fromfile(self.file, np.uint8, prod(self.shape) * width, offset=self.offset)
        if len(raw) != prod(self.shape) * width:
            raise ValueError(f"{self.file.name} was cut")
        if self.dtype == "BF16":  # the upper half of a float32
            values = (raw.view("<u2").astype(np.uint32) << np.uint32(16)).view(np.float32)
        else:
            values = raw.view("<f4" if self.dtype == "F32" else "<f2").astype(np.float32, copy=False)
        return values.reshape(self.shape)


def weight_files(folder: Path) -> list[Path]:
    """The file of a folder's weights, or the shards that its index names. Raises ValueError for names outside the
    folder.
    """
    single, shards = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.exists() or not shards.exists():
        return [single]
    index = json.loads(shards.read_text("utf-8"))
    names = sorted(set(index["weight_map"].values()))
    if any("/" in name or "\\" in name or name.startswith(".") for name in names):
        raise ValueError("its index names files elsewhere")
    return [folder / name for name in names]


def read_headers(files: list[Path]) -> dict[str, StoredTensor]:
    """The tensors of all files by name. Raises ValueError for a damaged header or a name that occurs twice."""
    found: dict[str, StoredTensor] = {}
    for file in files:
        header, start, size = _header(file)
        for name, said in header.items():
            if name == "__metadata__":
                continue
            if name in found:
                raise ValueError(f"{name} is there twice")
            found[name] = _stored(file, name, said, start, size)
    return found


def _header(file: Path) -> tuple[dict[str, Any], int, int]:
    """A file's header, where its tensors begin, and its size."""
    with file.open("rb") as opened:
        size = file.stat().st_size
        length = int.from_bytes(opened.read(8), "little")
        if length > min(size - 8, _MAX_HEADER_BYTES):
            raise ValueError(f"{file.name} is cut")
        header = json.loads(opened.read(length))
    if not isinstance(header, dict):
        raise ValueError(f"{file.name} has no header")
    return header, 8 + length, size


def _stored(file: Path, name: str, said: Any, start: int, size: int) -> StoredTensor:
    try:
        dtype, shape, (begin, end) = said["dtype"], tuple(said["shape"]), said["data_offsets"]
        sizes_are_right = all(type(one) is int and one >= 0 for one in (*shape, begin, end)) and start + end <= size
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{name} is not described") from error
    if not sizes_are_right or (dtype in WIDTHS and end - begin != prod(shape) * WIDTHS[dtype]):
        raise ValueError(f"{name} lies beyond the end of {file.name}")
    return StoredTensor(file, str(dtype), shape, start + begin)
