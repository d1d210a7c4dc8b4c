"""The graphs of a GGUF model for a browser, over the weights of the first graph. A pass reads one text there.

Owns both: one computes the weights as they are stored; the other is for a runtime without a kernel for four bits. Its
matrices are float32, which whoever opens it makes by recipes: which bytes of the file of weights make which matrix. All
else is read from that file as the first graph reads it. Knows no browser.
"""

from dataclasses import asdict, dataclass
from io import BytesIO
from math import prod
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from decoding.engines.onnx.architecture.layers import LayerWriter
from decoding.engines.onnx.graph_builder import GraphBuilder
from decoding.engines.onnx.graph_files import GRAPH_FILE, GraphFiles
from decoding.engines.onnx.matmul_nodes import Products, UnpackedProducts, offsets_of
from decoding.engines.onnx.model_graph import ARCHITECTURES
from decoding.engines.onnx.weight_files import GgufWeights
from decoding.models.gguf import read_gguf
from decoding.models.gguf_blocks import Blocks


@dataclass(frozen=True, slots=True)
class HalfRecipe:
    """Four bits of each number. Places are offsets in the file of weights, in bytes."""

    numbers: int
    """(outputs, blocks, block / 2) bytes, the first number of a pair in the lower four bits"""
    scales: int
    """(outputs, blocks) float32"""
    zero: int


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a matrix of (outputs, blocks · block) float32 is made: the sum of scale · (number − zero), and the offset."""

    file: str
    """The name under which the graph asks for it."""
    outputs: int
    blocks: int
    block: int
    halves: tuple[HalfRecipe, ...]
    offsets: int | None
    """(blocks, outputs) float32"""


def packed_graph(files: GraphFiles) -> bytes:
    """The graph over the weights as they are stored."""
    graph = _SameWeights(files)
    return _write(files, graph, Products(graph))


def unpacked_graph(files: GraphFiles) -> tuple[bytes, list[dict[str, Any]]]:
    """The graph over float32, and the recipes of its matrices as JSON has them."""
    graph = _SameWeights(files)
    products = _ProductsByRecipe(graph)
    return _write(files, graph, products), [asdict(recipe) for recipe in products.recipes.values()]


def _write(files: GraphFiles, graph: "_SameWeights", products: Products) -> bytes:
    module, weights = ARCHITECTURES[files.spec.family], GgufWeights(read_gguf(files.source), files.spec)
    module.write(LayerWriter(graph, products, weights, files.spec, is_gguf=True, shares_beginnings=False))
    return graph.model(files.spec.family)


class _SameWeights(GraphBuilder):
    """Takes every constant from the first graph, which has it under the same name."""

    def __init__(self, files: GraphFiles) -> None:
        super().__init__(BytesIO())
        first = onnx.load(files.folder / GRAPH_FILE, load_external_data=False)
        self._known = {tensor.name: tensor for tensor in first.graph.initializer}

    def constant(self, name: str, values: NDArray[Any]) -> str:
        self._constants[name] = self._known[name]
        return name

    def place(self, name: str) -> int:
        """Where a constant begins in the file of weights."""
        return next(int(entry.value) for entry in self._known[name].external_data if entry.key == "offset")


class _ProductsByRecipe(UnpackedProducts):
    """Writes a recipe for each matrix instead of the matrix: whoever opens the graph makes it."""

    def __init__(self, graph: _SameWeights) -> None:
        super().__init__(graph)
        self._same = graph
        self.recipes: dict[str, Recipe] = {}

    def _add_unpacked(self, matrix: Blocks, name: str, unpacked: str) -> None:
        outputs, blocks, block = matrix.numbers.shape
        place = self._same.place
        halves = tuple(HalfRecipe(place(h.numbers), place(h.scales), h.zero) for h in self.nibbles(matrix, name))
        offsets = None if offsets_of(matrix) is None else place(f"{name}.offset")
        self.recipes[name] = Recipe(unpacked, outputs, blocks, block, halves, offsets)
        shape = outputs, blocks * block
        self._graph.external(unpacked, TensorProto.FLOAT, shape, unpacked, 0, 4 * prod(shape))
