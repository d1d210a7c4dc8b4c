"""Writes matrix products and embedding lookups over a model's weights as nodes of a graph, in float32.

Owns how weights of four and more bits are computed with ONNX Runtime's four-bit operator. Knows no family and no file
format. MatMulNBits takes w = scale · (number − zero), with a four-bit zero per block. So

- a number of more bits is split in two: number = 16·high + low, with one product for 16·scale and one for scale;
- a zero is split the same way, which is exact;
- an offset is a small product over the sums of x's blocks, since Σ offset·x = offset · Σx within a block.

accuracy_level=1 keeps the activations in float32; 4 would round them to int8, which is faster but changes the numbers.
bits=8 would unpack the matrix in every call on a CPU, and zeros as floats are 15 times slower. A head tied to the
embedding is stored once: both read the same bytes.
"""

from dataclasses import dataclass

import numpy as np

from decoding.engines.onnx.graph_builder import MICROSOFT, GraphBuilder
from decoding.engines.onnx.weights import FloatMatrix, Matrix
from decoding.models.gguf_blocks import Blocks, Bytes, Floats
from decoding.models.safetensors import StoredTensor

_DEFAULT_ZERO = 8  # MatMulNBits' own


@dataclass(frozen=True, slots=True)
class _NibblePart:
    """The high or low four bits of each number, as names of constants."""

    numbers: str
    """(outputs, blocks, half a block's values), uint8"""
    scales: str
    """(outputs, blocks)"""
    zeros: list[str]
    """(outputs, bytes for the blocks' zeros); empty for the operator's default zero"""
    zero: int
    """The zero of every block."""


class Products:
    """Writes products and lookups into a graph. The constants of a matrix are written once, under its name."""

    def __init__(self, graph: GraphBuilder) -> None:
        self._graph = graph
        self._nibbles: dict[str, tuple[_NibblePart, ...]] = {}

    def linear(self, x: str, matrix: Matrix, name: str) -> str:
        """matrix · x.  (ids, inputs) → (ids, outputs)"""
        if isinstance(matrix, FloatMatrix):
            turned = int(not matrix.is_transposed)
            return self._graph.node("FusedMatMul", [x, self._floats(matrix, name)], domain=MICROSOFT, transB=turned)
        return self._block_product(x, matrix, name)

    def rows(self, ids: str, matrix: Matrix, name: str) -> str:
        """Look up the matrix's row of each id.  (ids,) → (ids, inputs)"""
        graph = self._graph
        if isinstance(matrix, FloatMatrix):
            return graph.node("Gather", [self._floats(matrix, name), ids])
        outputs, blocks, block = matrix.numbers.shape
        made = ""
        for half in self.nibbles(matrix, name):
            flat = graph.alias(f"{half.numbers}.rows", half.numbers, (outputs, blocks * block // 2))
            scales = graph.alias(f"{half.scales}.rows", half.scales, (outputs, blocks))
            inputs = [flat, ids, scales, *half.zeros]
            found = graph.node("GatherBlockQuantized", inputs, domain=MICROSOFT, bits=4, block_size=block)
            made = graph.node("Add", [made, found]) if made else found
        if (offsets := offsets_of(matrix)) is None:
            return made
        by_block = graph.node("Reshape", [made, graph.ints(0, blocks, block)])
        found = graph.node("Gather", [graph.constant(f"{name}.offset.rows", offsets), ids])
        moved = graph.node("Add", [by_block, graph.node("Unsqueeze", [found, graph.ints(-1)])])
        return graph.node("Reshape", [moved, graph.ints(0, -1)])

    def _floats(self, matrix: FloatMatrix, name: str) -> str:
        if self._graph.has(name):  # the embedding, read again as the head
            return name
        if isinstance(matrix.values, StoredTensor):
            return self._graph.external_floats(name, matrix.values)
        return self._graph.constant(name, matrix.values)

    def nibbles(self, matrix: Blocks, name: str) -> tuple[_NibblePart, ...]:
        if name not in self._nibbles:
            numbers, scales, zero = matrix.numbers, matrix.scales, matrix.zero
            if matrix.bits > 4:
                high, low = numbers >> np.uint8(4), numbers & np.uint8(15)
                self._nibbles[name] = (
                    self._write_nibbles(high, 16 * scales, zero >> 4, f"{name}.high"),
                    self._write_nibbles(low, scales, zero & 15, f"{name}.low"),
                )
            else:  # with offsets, keep the operator's default zero and correct the offsets for it, which costs nothing
                zero = zero if matrix.offsets is None else _DEFAULT_ZERO
                self._nibbles[name] = (self._write_nibbles(numbers, scales, zero, name),)
        return self._nibbles[name]

    def _write_nibbles(self, numbers: Bytes, scales: Floats, zero: int, name: str) -> _NibblePart:
        graph, (outputs, blocks, _) = self._graph, numbers.shape
        packed = graph.constant(name, numbers[..., 0::2] | numbers[..., 1::2] << 4)
        zeros = []
        if zero != _DEFAULT_ZERO:
            of_pairs = np.full((outputs, (blocks + 1) // 2), zero | zero << 4, np.uint8)
            zeros = [graph.constant(f"{name}.zero", of_pairs)]
        return _NibblePart(packed, graph.constant(f"{name}.scale", scales.astype(np.float32)), zeros, zero)

    def _block_product(self, x: str, matrix: Blocks, name: str) -> str:
        outputs, blocks, block = matrix.numbers.shape
        options = {"K": blocks * block, "N": outputs, "bits": 4, "block_size": block, "accuracy_level": 1}
        products = [
            self._graph.node("MatMulNBits", [x, half.numbers, half.scales, *half.zeros], domain=MICROSOFT, **options)
            for half in self.nibbles(matrix, name)
        ]
        product = self._graph.node("Add", products) if len(products) > 1 else products[0]
        if (offsets := offsets_of(matrix)) is None:
            return product
        # In one node: a step has a hundred of these sums, and a node takes microseconds.
        sums = self._graph.block_sums(x, blocks, block)  # (ids, blocks)
        by_block = self._graph.constant(f"{name}.offset", offsets.T)  # (blocks, outputs)
        return self._graph.node("Gemm", [sums, by_block, product])


class UnpackedProducts(Products):
    """Writes one product over each matrix as float32. Lookups read the blocks as stored, and unpack only their rows."""

    def _block_product(self, x: str, matrix: Blocks, name: str) -> str:
        unpacked = f"{name}.unpacked"
        if not self._graph.has(unpacked):
            self._add_unpacked(matrix, name, unpacked)
        return self._graph.node("FusedMatMul", [x, unpacked], domain=MICROSOFT, transB=1)

    def _add_unpacked(self, matrix: Blocks, name: str, unpacked: str) -> None:
        """Add the matrix `name` as float32, as the constant `unpacked`.  (outputs, inputs)"""
        self._graph.constant(unpacked, matrix.weights().reshape(len(matrix.numbers), -1))


def offsets_of(matrix: Blocks) -> Floats | None:
    """The offset of each block that remains beside the four-bit products; None if there is none.  (outputs, blocks)"""
    if matrix.offsets is None or matrix.bits > 4:
        return matrix.offsets
    taken: Floats = matrix.offsets + np.float32(_DEFAULT_ZERO - matrix.zero) * matrix.scales
    return taken
