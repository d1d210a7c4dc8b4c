"""From a model's files to a graph of it in a folder.

Owns which architecture writes which family, and what a graph says of itself. Knows no cache.
"""

from pathlib import Path

from decoding.engines.onnx.architecture import llama
from decoding.engines.onnx.architecture.pieces import Pieces
from decoding.engines.onnx.gguf_weights import GgufWeights
from decoding.engines.onnx.graph_builder import GraphBuilder
from decoding.engines.onnx.products import Products
from decoding.engines.onnx.weights import Unpacked, Weights
from decoding.models.gguf import GgufFile
from decoding.models.spec import ModelSpec
from decoding.models.spec_gguf import spec_of_gguf

ARCHITECTURES = {"llama": llama}


def build_gguf(file: GgufFile, folder: Path, *, unpacked: bool) -> ModelSpec:
    """Write the graph of a GGUF file. Raises ModelError for a file of which none can be made."""
    spec = spec_of_gguf(file)
    module = ARCHITECTURES[spec.family]
    interleaved = file.metadata["general.architecture"] in module.GGUF_INTERLEAVED
    weights = GgufWeights(file, spec, module.GGUF, interleaved)
    _write(spec, Unpacked(weights) if unpacked else weights, folder)
    return spec


def _write(spec: ModelSpec, weights: Weights, folder: Path) -> None:
    graph = GraphBuilder(folder)
    try:
        ARCHITECTURES[spec.family].write(Pieces(graph, Products(graph), weights, spec))
        graph.save(spec.family, {"greedyscope.spec": spec.to_json()})
    finally:
        graph.close()
