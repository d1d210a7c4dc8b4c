"""The block types of a GGUF file: integers, with a scale and perhaps an offset for each block.

Owns the layout of the bytes, after ggml's description of its formats. Every type is
weight = scale · (number − zero) + offset, in float32. Knows no file, no tensor's name and no engine.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Order = NDArray[np.int64] | slice
"""Which rows of a matrix, in which order."""


@dataclass(frozen=True, slots=True, eq=False)
class Blocks:
    """Blocks in a row, or in the rows of a matrix: weight = scale · (number − zero) + offset."""

    numbers: Bytes
    """(blocks, values of a block) or (rows, blocks, values of a block), each below 2 ** bits."""
    scales: Floats
    """(blocks,) or (rows, blocks)"""
    offsets: Floats | None
    """The same, or None if all are zero."""
    zero: int
    bits: int

    def weights(self) -> Floats:
        """Dequantize.  The shape of the numbers, float32"""
        found: Floats = self.numbers.astype(np.float32)
        found -= np.float32(self.zero)
        found *= self.scales[..., None]
        if self.offsets is not None:
            found += self.offsets[..., None]
        return found

    def in_rows(self, rows: int, order: Order) -> "Blocks":
        """The blocks of a matrix that lie in a row, in its rows, and these in another order."""

        def placed(part: NDArray[Any]) -> NDArray[Any]:
            return part.reshape(rows, -1, *part.shape[1:])[order]

        offsets = None if self.offsets is None else placed(self.offsets)
        return replace(self, numbers=placed(self.numbers), scales=placed(self.scales), offsets=offsets)


@dataclass(frozen=True, slots=True)
class BlockType:
    """How a tensor's values are stored. `read` is None for plain floating-point types."""

    number: int
    """ggml's number of the type."""
    name: str
    block: int
    """Values of a block, as the file stores them."""
    block_bytes: int
    read: Callable[[Bytes], Blocks] | None = None
    """(blocks, bytes of a block), uint8 → `Blocks`; types with several scales in a block give several blocks for
    one.
    """


def floats(kind: BlockType, raw: Bytes) -> Floats:
    """Dequantize bytes of a type.  (bytes,), uint8 → (values,), float32"""
    if kind.read:
        return kind.read(raw.reshape(-1, kind.block_bytes)).weights().reshape(-1)
    if kind.name == "BF16":  # the upper half of a float32
        return (raw.view("<u2").astype(np.uint32) << 16).view(np.float32)
    return raw.view("<f4" if kind.name == "F32" else "<f2").astype(np.float32)


def _half(raw: Bytes) -> Floats:
    """(blocks, 2) → (blocks,)"""
    found: Floats = np.ascontiguousarray(raw).view("<f2").astype(np.float32)[:, 0]
    return found


def _nibbles(raw: Bytes) -> Bytes:
    """The low nibbles of all bytes, then the high ones.  (blocks, bytes) → (blocks, 2 · bytes)"""
    found: Bytes = np.concatenate([raw & 15, raw >> 4], axis=1)
    return found


def _fifth_bits(raw: Bytes) -> Bytes:
    """(blocks, 4) → (blocks, 32), each 0 or 16."""
    return np.unpackbits(raw, axis=1, bitorder="little") << np.uint8(4)


def _q4_0(raw: Bytes) -> Blocks:
    return Blocks(_nibbles(raw[:, 2:]), _half(raw[:, :2]), None, 8, 4)


def _q4_1(raw: Bytes) -> Blocks:
    return Blocks(_nibbles(raw[:, 4:]), _half(raw[:, :2]), _half(raw[:, 2:4]), 0, 4)


def _q5_0(raw: Bytes) -> Blocks:
    return Blocks(_nibbles(raw[:, 6:]) | _fifth_bits(raw[:, 2:6]), _half(raw[:, :2]), None, 16, 5)


def _q5_1(raw: Bytes) -> Blocks:
    return Blocks(_nibbles(raw[:, 8:]) | _fifth_bits(raw[:, 4:8]), _half(raw[:, :2]), _half(raw[:, 2:4]), 0, 5)


def _q8_0(raw: Bytes) -> Blocks:
    return Blocks(raw[:, 2:] ^ np.uint8(128), _half(raw[:, :2]), None, 128, 8)  # two's complement + 128


def _six_bit_scales(packed: Bytes) -> tuple[Floats, Floats]:
    """The eight scales and eight minima of a Q4_K or Q5_K block.  (blocks, 12) → (blocks, 8) each"""
    first, second, third = packed[:, :4], packed[:, 4:8], packed[:, 8:]
    scales = np.concatenate([first & 63, third & 15 | first >> 6 << 4], axis=1)
    minima = np.concatenate([second & 63, third >> 4 | second >> 6 << 4], axis=1)
    return scales.astype(np.float32), minima.astype(np.float32)


def _with_minima(raw: Bytes, numbers: Bytes, bits: int) -> Blocks:
    """A Q4_K or Q5_K block: eight times 32 numbers, each with its own scale and minimum."""
    scales, minima = _six_bit_scales(raw[:, 4:16])
    scales *= _half(raw[:, :2])[:, None]
    minima *= -_half(raw[:, 2:4])[:, None]
    return Blocks(numbers.reshape(-1, 32), scales.reshape(-1), minima.reshape(-1), 0, bits)


def _quarters(raw: Bytes) -> Bytes:
    """The low nibbles of each 32 bytes, then their high ones.  (blocks, 128) → (blocks, 8, 32)"""
    parts = raw.reshape(-1, 4, 32)
    return np.stack([parts & 15, parts >> 4], axis=2).reshape(-1, 8, 32)


def _q4_k(raw: Bytes) -> Blocks:
    return _with_minima(raw, _quarters(raw[:, 16:]), 4)


def _q5_k(raw: Bytes) -> Blocks:
    bit = np.arange(8, dtype=np.uint8)[None, :, None]
    fifth: Bytes = (raw[:, None, 16:48] >> bit & np.uint8(1)) << np.uint8(4)  # (blocks, 8, 32)
    numbers: Bytes = _quarters(raw[:, 48:]) | fifth
    return _with_minima(raw, numbers, 5)


def _q6_k(raw: Bytes) -> Blocks:
    low, high = raw[:, :128].reshape(-1, 2, 2, 32), raw[:, 128:192].reshape(-1, 2, 1, 32)
    shift = np.array([0, 2, 4, 6], np.uint8)[:, None]
    numbers = np.concatenate([low & 15, low >> 4], axis=2) | (high >> shift & 3) << 4  # (blocks, 2, 4, 32)
    scales = _half(raw[:, 208:])[:, None] * raw[:, 192:208].view(np.int8)
    return Blocks(numbers.reshape(-1, 16), scales.astype(np.float32).reshape(-1), None, 32, 6)


BLOCK_TYPES = {
    kind.number: kind
    for kind in (
        BlockType(0, "F32", 1, 4),
        BlockType(1, "F16", 1, 2),
        BlockType(30, "BF16", 1, 2),
        BlockType(2, "Q4_0", 32, 18, _q4_0),
        BlockType(3, "Q4_1", 32, 20, _q4_1),
        BlockType(6, "Q5_0", 32, 22, _q5_0),
        BlockType(7, "Q5_1", 32, 24, _q5_1),
        BlockType(8, "Q8_0", 32, 34, _q8_0),
        BlockType(12, "Q4_K", 256, 144, _q4_k),
        BlockType(13, "Q5_K", 256, 176, _q5_k),
        BlockType(14, "Q6_K", 256, 210, _q6_k),
    )
}
_UNREAD = (
    "10 Q2_K, 11 Q3_K, 15 Q8_K, 16 IQ2_XXS, 17 IQ2_XS, 18 IQ3_XXS, 19 IQ1_S, 20 IQ4_NL, 21 IQ3_S, 22 IQ2_S, 23 IQ4_XS, "
    "24 I8, 25 I16, 26 I32, 27 I64, 28 F64, 29 IQ1_M, 31 Q4_0_4_4, "
    "32 Q4_0_4_8, 33 Q4_0_8_8, 34 TQ1_0, 35 TQ2_0, 36 IQ4_NL_4_4, 37 IQ4_NL_4_8, 38 IQ4_NL_8_8, 39 MXFP4, 40 NVFP4"
)
UNREAD_TYPES = {int(number): name for number, name in (one.split(" ") for one in _UNREAD.split(", "))}
"""Types of ggml that this program does not read, for the error message."""
