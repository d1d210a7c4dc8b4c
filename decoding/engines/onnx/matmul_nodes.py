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
from decoding.engines.onnx.weights import BlockMatrix, FloatMatrix, Matrix
from decoding.models.gguf_blocks import Bytes, Floats

_DEFAULT_ZERO = 8  # MatMulNBits' own


@dataclass(frozen=True, slots=True)
class _NibblePart:
    """The high or low four bits of each number, as names of constants."""

    numbers: str
    """(outputs, blocks, half a block's values), uint8"""
    scales: str
    """(outputs, blocks)"""
    zeros: str
    """(outputs, bytes for the blocks' zeros); "" for the operator's default zero"""
    zero: int
    """The zero of every block."""

    def inputs(self, x: str) -> list[str]:
        return [x, self.numbers, self.scales, *([self.zeros] if self.zeros else [])]


class Products:
    """Writes products and lookups into a graph. The constants of a matrix are written once, under its name."""

    def __init__(self, graph: GraphBuilder) -> None:
        self._graph = graph
        self._written: dict[str, tuple[_NibblePart, ...]] = {}

    def linear(self, x: str, matrix: Matrix, name: str, *, bias: Floats | None = None, out: str = "") -> str:
        """matrix · x + bias. `out` names the result; "" stands for any name.  (ids, inputs) → (ids, outputs)"""
        if bias is not None:
            product = self.linear(x, matrix, name)
            return self._graph.node("Add", [product, self._graph.constant(f"{name}.bias", bias)], out=out)
        if isinstance(matrix, FloatMatrix):
            turned = int(not matrix.is_transposed)
            operands = [x, self._floats(matrix, name)]
            return self._graph.node("FusedMatMul", operands, out=out, domain=MICROSOFT, transB=turned)
        return self._block_product(x, matrix, name, out)

    def rows(self, ids: str, matrix: Matrix, name: str) -> str:
        """Look up the matrix's row of each id.  (ids,) → (ids, inputs)"""
        graph = self._graph
        if isinstance(matrix, FloatMatrix):
            return graph.node("Gather", [self._floats(matrix, name), ids], axis=0)
        outputs, blocks, block = matrix.numbers.shape
        made = ""
        for half in self.nibbles(matrix, name):
            flat = graph.alias(f"{half.numbers}.rows", half.numbers, (outputs, blocks * block // 2))
            scales = graph.alias(f"{half.scales}.rows", half.scales, (outputs, blocks))
            inputs = [flat, ids, scales, *([half.zeros] if half.zeros else [])]
            options = {"block_size": block, "bits": 4, "gather_axis": 0, "quantize_axis": 1}
            found = graph.node("GatherBlockQuantized", inputs, domain=MICROSOFT, **options)
            made = graph.node("Add", [made, found]) if made else found
        if (offsets := offsets_of(matrix)) is None:
            return made
        by_block = graph.node("Reshape", [made, graph.ints(0, blocks, block)])
        found = graph.node("Gather", [graph.constant(f"{name}.offset.rows", offsets), ids], axis=0)
        moved = graph.node("Add", [by_block, graph.node("Unsqueeze", [found, graph.ints(-1)])])
        return graph.node("Reshape", [moved, graph.ints(0, -1)])

    def _floats(self, matrix: FloatMatrix, name: str) -> str:
        if name not in self._written:
            self._written[name] = ()
            if matrix.values is not None:
                self._graph.constant(name, matrix.values)
            elif matrix.stored:
                self._graph.external_floats(name, matrix.stored)
        return name

    def nibbles(self, matrix: BlockMatrix, name: str) -> tuple[_NibblePart, ...]:
        if name not in self._written:
            numbers, scales, zero = matrix.numbers, matrix.scales, matrix.zero
            if matrix.bits > 4:
                high, low = numbers >> np.uint8(4), numbers & np.uint8(15)
                self._written[name] = (
                    self._write_nibbles(high, 16 * scales, zero >> 4, f"{name}.high"),
                    self._write_nibbles(low, scales, zero & 15, f"{name}.low"),
                )
            else:  # with offsets, keep the operator's default zero and correct the offsets for it, which costs nothing
                zero = zero if matrix.offsets is None else _DEFAULT_ZERO
                self._written[name] = (self._write_nibbles(numbers, scales, zero, name),)
        return self._written[name]

    def _write_nibbles(self, numbers: Bytes, scales: Floats, zero: int, name: str) -> _NibblePart:
        graph, (outputs, blocks, _) = self._graph, numbers.shape
        packed = graph.constant(name, numbers[..., 0::2] | numbers[..., 1::2] << 4)
        zeros = ""
        if zero != _DEFAULT_ZERO:
            zeros = graph.constant(f"{name}.zero", np.full((outputs, (blocks + 1) // 2), zero | zero << 4, np.uint8))
        return _NibblePart(packed, graph.constant(f"{name}.scale", scales.astype(np.float32)), zeros, zero)

    def _block_product(self, x: str, matrix: BlockMatrix, name: str, out: str) -> str:
        if (offsets := offsets_of(matrix)) is not None:
            return self._plus_offsets(self._nibble_products(x, matrix, name, ""), x, matrix, offsets, name, out)
        return self._nibble_products(x, matrix, name, out)

    def _nibble_products(self, x: str, matrix: BlockMatrix, name: str, out: str) -> str:
        """The product over all bits of the numbers, without offsets."""
        halves = self.nibbles(matrix, name)
        if len(halves) == 1:
            return self._nibble_product(x, matrix, halves[0], out)
        return self._graph.node("Add", [self._nibble_product(x, matrix, half) for half in halves], out=out)

    def _nibble_product(self, x: str, matrix: BlockMatrix, half: _NibblePart, out: str = "") -> str:
        outputs, blocks, block = matrix.numbers.shape
        options = {"K": blocks * block, "N": outputs, "bits": 4, "block_size": block, "accuracy_level": 1}
        return self._graph.node("MatMulNBits", half.inputs(x), domain=MICROSOFT, out=out, **options)

    def _plus_offsets(self, product: str, x: str, matrix: BlockMatrix, offsets: Floats, name: str, out: str) -> str:
        """`product` + offsets · x, in one node: a step has a hundred of these sums, and a node takes microseconds."""
        _, blocks, block = matrix.numbers.shape
        sums = self._graph.block_sums(x, blocks, block)  # (ids, blocks)
        by_block = self._graph.constant(f"{name}.offset", offsets.T)  # (blocks, outputs)
        return self._graph.node("Gemm", [sums, by_block, product], out=out)


class UnpackedProducts(Products):
    """Writes one product over each matrix as float32. Lookups read the blocks as stored, and unpack only their rows."""

    def _block_product(self, x: str, matrix: BlockMatrix, name: str, out: str) -> str:
        unpacked = f"{name}.unpacked"
        if not self._graph.has(unpacked):
            self._add_unpacked(matrix, name, unpacked)
        return self._graph.node("FusedMatMul", [x, unpacked], out=out, domain=MICROSOFT, transB=1)

    def _add_unpacked(self, matrix: BlockMatrix, name: str, unpacked: str) -> None:
        """Add the matrix `name` as float32, as the constant `unpacked`.  (outputs, inputs)"""
        self._graph.constant(unpacked, matrix.unpacked())


def offsets_of(matrix: BlockMatrix) -> Floats | None:
    """The offset of each block that remains beside the four-bit products; None if there is none.  (outputs, blocks)"""
    if matrix.offsets is None or matrix.bits > 4:
        return matrix.offsets
    taken: Floats = matrix.offsets + np.float32(_DEFAULT_ZERO - matrix.zero) * matrix.scales
    return taken
