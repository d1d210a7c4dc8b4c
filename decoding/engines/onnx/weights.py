"""A model's weights as a graph takes them: matrices of floats or of four-bit numbers, under the names that the
architectures use.

Owns the kinds of matrices and what a source of weights is. Knows no family, no file and no operator: `products` writes
what is computed of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from decoding.models.gguf_blocks import Bytes, Floats

Order = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class FloatMatrix:
    """Rows of float32."""

    values: Floats
    """(outputs, inputs)"""

    @property
    def shape(self) -> tuple[int, int]:
        return self.values.shape[0], self.values.shape[1]

    def take(self, order: Order) -> "FloatMatrix":
        return FloatMatrix(self.values[order])


@dataclass(frozen=True, slots=True, eq=False)
class BlockMatrix:
    """Rows of blocks: weight = scale · (number − zero) + offset."""

    numbers: Bytes
    """(outputs, blocks, values of a block)"""
    scales: Floats
    """(outputs, blocks)"""
    offsets: Floats | None
    """(outputs, blocks)"""
    zero: int
    bits: int

    @property
    def shape(self) -> tuple[int, int]:
        outputs, blocks, block = self.numbers.shape
        return outputs, blocks * block

    def take(self, order: Order) -> "BlockMatrix":
        offsets = None if self.offsets is None else self.offsets[order]
        return replace(self, numbers=self.numbers[order], scales=self.scales[order], offsets=offsets)

    def unpacked(self) -> FloatMatrix:
        values: Floats = self.numbers.astype(np.float32)
        values -= np.float32(self.zero)
        values *= self.scales[..., None]
        if self.offsets is not None:
            values += self.offsets[..., None]
        return FloatMatrix(values.reshape(self.shape))


Matrix = FloatMatrix | BlockMatrix


class Weights(Protocol):
    """Where a graph's weights come from."""

    def matrix(self, name: str, layer: int | None = None) -> Matrix:
        """(outputs, inputs)"""

    def vector(self, name: str, layer: int | None = None) -> Floats: ...


def joined(matrices: Sequence[Matrix]) -> Matrix | None:
    """The rows of several matrices as one, or None where they are not stored alike."""
    first = matrices[0]
    if isinstance(first, FloatMatrix):
        values = [one.values for one in matrices if isinstance(one, FloatMatrix)]
        return FloatMatrix(np.concatenate(values)) if len(values) == len(matrices) else None
    alike = [one for one in matrices if isinstance(one, BlockMatrix) and _kind(one) == _kind(first)]
    if len(alike) < len(matrices):
        return None
    offsets = (
        None if first.offsets is None else np.concatenate([one.offsets for one in alike if one.offsets is not None])
    )
    numbers = np.concatenate([one.numbers for one in alike])
    scales = np.concatenate([one.scales for one in alike])
    return BlockMatrix(numbers, scales, offsets, first.zero, first.bits)


def _kind(matrix: BlockMatrix) -> tuple[int, int, int, bool]:
    return matrix.zero, matrix.bits, matrix.numbers.shape[2], matrix.offsets is None


class Unpacked:
    """Weights of a source, all of them as float32."""

    def __init__(self, source: Weights) -> None:
        self._source = source
        self.vector = source.vector

    def matrix(self, name: str, layer: int | None = None) -> Matrix:
        found = self._source.matrix(name, layer)
        return found if isinstance(found, FloatMatrix) else found.unpacked()
