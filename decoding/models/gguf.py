"""A GGUF file: its metadata, and where its tensors are.

Owns the reading of an untrusted file. Every count, length, type and offset is checked against the size of the file and
against limits that no real model reaches, before it is used; the time is linear in what is read. Every fault is a
ModelError. Knows no model family and no engine. Nothing is mapped, so a file that is cut while in use is an error and
does not end the process.
"""

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from decoding.errors import ModelError
from decoding.messages import Message
from decoding.models.gguf_blocks import BLOCK_TYPES, UNREAD_TYPES, BlockType, Bytes

_MAX_HEADER_BYTES = 2**28
_MAX_ITEMS = 2**23  # of all arrays together; the largest vocabularies have 2**18 tokens and twice as many merges
_MAX_NAME_BYTES = 2**16
_MAX_DIMENSIONS = 4
_PIECE = 2**20
_STRING, _ARRAY = 8, 9
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_LEAST_PAIR, _LEAST_TENSOR = 8 + 4 + 1, 8 + 4 + 8 + 4 + 8  # bytes


@dataclass(frozen=True, slots=True)
class GgufTensor:
    name: str
    kind: BlockType
    shape: tuple[int, ...]
    """Rows first, as in NumPy and torch; the file stores the reverse."""
    offset: int
    """From the beginning of the file."""
    size: int
    """Bytes."""


@dataclass(frozen=True, slots=True)
class GgufFile:
    path: Path
    metadata: dict[str, Any]
    """Numbers, texts, and lists of either."""
    tensors: dict[str, GgufTensor]

    def read(self, tensor: GgufTensor) -> Bytes:
        """The bytes of a tensor, shape (size,). Raises ModelError if they are no longer there."""
        try:
            raw = np.fromfile(self.path, np.uint8, tensor.size, offset=tensor.offset)
        except OSError as error:
            raise _damaged(self.path, f"{tensor.name} cannot be read") from error
        if len(raw) != tensor.size:
            raise _damaged(self.path, f"{tensor.name} is cut")
        return raw


def read_gguf(path: Path) -> GgufFile:
    """The metadata and the list of tensors of a file. Raises ModelError for every fault of the file."""
    try:
        with path.open("rb", buffering=0) as opened:
            return read_head(path, opened.read, os.fstat(opened.fileno()).st_size)
    except OSError as error:
        raise _damaged(path, "it cannot be read") from error


def read_head(path: Path, read: Callable[[int], bytes], size: int) -> GgufFile:
    """The same of a file of `size` bytes, of which `read` gives the next ones."""
    if (cursor := _Cursor(path, read, size)).size < 4 or bytes(cursor.read_bytes(4)) != b"GGUF":
        raise ModelError(Message("gguf.none", file=path.name))
    version = cursor.number("I")
    if version in (2 << 24, 3 << 24):
        raise ModelError(Message("gguf.endian", file=path.name))
    if version not in (2, 3):
        raise ModelError(Message("gguf.version", file=path.name, version=version))
    tensors, pairs = cursor.count("Q", _LEAST_TENSOR, "tensors"), cursor.count("Q", _LEAST_PAIR, "entries")
    metadata: dict[str, Any] = {}
    for _ in range(pairs):
        name = cursor.name()
        if name in metadata:
            raise cursor.damaged(f"it says {shown(name)} twice")
        metadata[name] = cursor.value(cursor.number("I"), name)
    if metadata.get("split.count", 1) not in (0, 1):
        raise ModelError(Message("gguf.part", file=path.name))
    described = [_read_tensor_info(cursor) for _ in range(tensors)]
    start = _data_start(cursor, metadata)
    found: dict[str, GgufTensor] = {}
    for name, kind, shape, offset in described:
        if name in found:
            raise cursor.damaged(f"it has {shown(name)} twice")
        found[name] = _locate_tensor(cursor, name, kind, shape, start + offset)
    _check_no_overlap(cursor, list(found.values()))
    return GgufFile(path, metadata, found)


def _read_tensor_info(cursor: "_Cursor") -> tuple[str, BlockType, tuple[int, ...], int]:
    name, dimensions = cursor.name(), cursor.number("I")
    if not 1 <= dimensions <= _MAX_DIMENSIONS:
        raise cursor.damaged(f"{shown(name)} has {dimensions} dimensions")
    shape = tuple(cursor.number("Q") for _ in range(dimensions))[::-1]
    number, offset = cursor.number("I"), cursor.number("Q")
    if number not in BLOCK_TYPES:
        types = ", ".join(kind.name for kind in BLOCK_TYPES.values())
        unread = UNREAD_TYPES.get(number, f"type {number}")
        raise ModelError(Message("gguf.type", file=cursor.path.name, tensor=shown(name), type=unread, types=types))
    return name, BLOCK_TYPES[number], shape, offset


def _data_start(cursor: "_Cursor", metadata: dict[str, Any]) -> int:
    """The offset of the first tensor, after the header has been read."""
    alignment = metadata.get("general.alignment", 32)
    if type(alignment) is not int or alignment < 1 or alignment & (alignment - 1) or alignment > 2**20:
        raise cursor.damaged(f"its alignment is {shown(alignment)}")
    return -(-cursor.position // alignment) * alignment


def _locate_tensor(cursor: "_Cursor", name: str, kind: BlockType, shape: tuple[int, ...], offset: int) -> GgufTensor:
    values = prod(shape)
    if not values or shape[-1] % kind.block:
        raise cursor.damaged(f"{shown(name)} has rows of {shape[-1]} values, and {kind.name} blocks of {kind.block}")
    size = values // kind.block * kind.block_bytes
    if offset + size > cursor.size:
        raise cursor.damaged(f"{shown(name)} lies beyond its end")
    return GgufTensor(name, kind, shape, offset, size)


def _check_no_overlap(cursor: "_Cursor", tensors: list[GgufTensor]) -> None:
    """Raises ModelError if two tensors overlap: a small file could otherwise claim to be a large model."""
    end = 0
    for tensor in sorted(tensors, key=lambda one: one.offset):
        if tensor.offset < end:
            raise cursor.damaged(f"{shown(tensor.name)} lies within another tensor")
        end = tensor.offset + tensor.size


class _Cursor:
    """Reads a file from its beginning in pieces, and never beyond its end or the limit of a header."""

    def __init__(self, path: Path, read: Callable[[int], bytes], size: int) -> None:
        self.path, self.size, self.position = path, size, 0
        self._read, self._buffer, self._begin = read, b"", 0
        self._items = _MAX_ITEMS

    def damaged(self, what: str) -> ModelError:
        return _damaged(self.path, what)

    def remaining(self) -> int:
        return min(self.size, _MAX_HEADER_BYTES) - self.position

    def read_bytes(self, count: int) -> memoryview:
        """The next bytes."""
        if count > self.remaining():
            raise self.damaged("its beginning does not end")
        at = self.position - self._begin
        if at + count > len(self._buffer):
            self._fill(at, count)
            at = 0
        self.position += count
        return memoryview(self._buffer)[at : at + count]

    def _fill(self, at: int, count: int) -> None:
        pieces, have = [self._buffer[at:]], len(self._buffer) - at
        while have < count:
            piece = self._read(max(_PIECE, count - have))
            if not piece:
                raise self.damaged("it ends early")
            pieces.append(piece)
            have += len(piece)
        self._buffer, self._begin = b"".join(pieces), self.position

    def number(self, code: str) -> Any:
        return struct.unpack("<" + code, self.read_bytes(struct.calcsize("<" + code)))[0]

    def count(self, code: str, least: int, what: str) -> int:
        """Read a count of items, each of at least `least` bytes. Raises ModelError if they cannot fit."""
        count: int = self.number(code)
        if count * least > self.remaining():
            raise self.damaged(f"it has no room for {count} {what}")
        return count

    def name(self) -> str:
        length = self.number("Q")
        if length > _MAX_NAME_BYTES:
            raise self.damaged(f"a name has {length} bytes")
        return self._text(length)

    def value(self, kind: int, name: str) -> Any:
        if kind == _STRING:
            return self._text(self.number("Q"))
        if kind == _ARRAY:
            return self._array(name)
        if kind not in _SCALARS:
            raise self.damaged(f"{shown(name)} is of a kind that is unknown ({kind})")
        return self.number(_SCALARS[kind])

    def _array(self, name: str) -> list[Any]:
        kind = self.number("I")
        if kind == _ARRAY or (kind != _STRING and kind not in _SCALARS):
            raise self.damaged(f"{shown(name)} is a list of a kind that is not read ({kind})")
        width = 8 if kind == _STRING else struct.calcsize("<" + _SCALARS[kind])
        count = self.count("Q", width, f"items of {shown(name)}")
        self._items -= count
        if self._items < 0:
            raise self.damaged(f"its lists have more than {_MAX_ITEMS} items")
        if kind == _STRING:
            return self._texts(count)
        return list(struct.unpack(f"<{count}{_SCALARS[kind]}", self.read_bytes(count * width)))

    def _texts(self, count: int) -> list[str]:
        """Strings, parsed in the buffer where possible, because a large vocabulary has half a million of them."""
        found: list[str] = []
        while len(found) < count:
            found.append(self._text(self.number("Q")))  # fills the buffer where it has to
            buffer, at = self._buffer, self.position - self._begin
            try:
                while len(found) < count and at + 8 <= len(buffer):
                    end = at + 8 + int.from_bytes(buffer[at : at + 8], "little")
                    if end > len(buffer):
                        break
                    found.append(str(buffer[at + 8 : end], "utf-8"))
                    at = end
            except UnicodeDecodeError as error:
                raise self.damaged("a text in it is no UTF-8") from error
            self.position = self._begin + at
            if self.remaining() < 0:
                raise self.damaged("its beginning does not end")
        return found

    def _text(self, length: int) -> str:
        try:
            return str(self.read_bytes(length), "utf-8")
        except UnicodeDecodeError as error:
            raise self.damaged("a text in it is no UTF-8") from error


def _damaged(path: Path, what: str) -> ModelError:
    return ModelError(Message("gguf.damaged", file=path.name, what=what))


def shown(value: object) -> str:
    """A value of the file, shortened for an error message."""
    text = str(value)
    return text if len(text) <= 60 and text.isprintable() else ascii(text[:60])[1:-1] + "…"
