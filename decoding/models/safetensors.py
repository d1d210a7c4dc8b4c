"""Reads safetensors files: which tensors they have, and where.

Owns the reading of headers, whose figures are all checked against the size of the file. Knows no model family and no
torch.
"""

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from decoding.models.gguf_blocks import Floats
from decoding.models.json_files import parse_json, read_json

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
    """The file of a folder's weights, or the shards that its index names. Raises OSError or ValueError for an index
    that cannot be read, or that names files outside the folder.
    """
    if (places := _indexed(folder)) is None:
        return [folder / "model.safetensors"]
    names = sorted(set(places.values()))
    if any("\\" in name or Path(name).is_absolute() or ".." in Path(name).parts for name in names):
        raise ValueError("its index names files elsewhere")
    return [folder / name for name in names]


def _indexed(folder: Path) -> dict[str, str] | None:
    """The file of each tensor by the folder's index; None if all of them are in one file."""
    index = folder / "model.safetensors.index.json"
    if (folder / "model.safetensors").exists() or not index.exists():
        return None
    try:
        places: dict[str, str] = read_json(index)["weight_map"]
        if all(type(file) is str for file in places.values()):
            return places
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError("its index cannot be read") from error
    raise ValueError("its index cannot be read")


def count_parameters(folder: Path) -> int:
    """The number of parameters that a folder's model is loaded from, by the headers of its files; 0 if they cannot be
    read. Other files (another format, an adapter) do not count, nor what a shard holds beside the tensors of the index;
    a tensor that is in two shards counts once.
    """
    stored: dict[str, StoredTensor] = {}
    try:
        for file in weight_files(folder):
            stored |= read_headers([file])
        return sum(prod(stored[name].shape) for name in (_indexed(folder) or stored))
    except (OSError, ValueError, KeyError):
        return 0  # the loader reports what is wrong


def read_headers(files: list[Path]) -> dict[str, StoredTensor]:
    """The tensors of all files by name. Raises OSError or ValueError for a damaged header or a name in two of them."""
    found: dict[str, StoredTensor] = {}
    for file in files:
        header, start, size = _header(file)
        for name, fields in header.items():
            if name == "__metadata__":
                continue
            if name in found:
                raise ValueError(f"{name} is there twice")
            found[name] = _stored(file, name, fields, start, size)
    return found


def _header(file: Path) -> tuple[dict[str, Any], int, int]:
    """A file's header, where its tensors begin, and its size."""
    with file.open("rb") as opened:
        size = file.stat().st_size
        length = int.from_bytes(opened.read(8), "little")
        if length > min(size - 8, _MAX_HEADER_BYTES):
            raise ValueError(f"{file.name} is cut")
        header = parse_json(opened.read(length))
    if not isinstance(header, dict):
        raise ValueError(f"{file.name} has no header")
    return header, 8 + length, size


def _stored(file: Path, name: str, fields: Any, start: int, size: int) -> StoredTensor:
    try:
        dtype, shape, (begin, end) = fields["dtype"], tuple(fields["shape"]), fields["data_offsets"]
        sizes_are_right = all(type(one) is int and one >= 0 for one in (*shape, begin, end)) and start + end <= size
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{name} is not described") from error
    if type(dtype) is not str:
        raise ValueError(f"{name} is not described")
    if not sizes_are_right or (dtype in WIDTHS and end - begin != prod(shape) * WIDTHS[dtype]):
        raise ValueError(f"{name} lies beyond the end of {file.name}")
    return StoredTensor(file, dtype, shape, start + begin)
