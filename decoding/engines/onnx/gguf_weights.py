"""A GGUF file's weights under an architecture's names, as the file stores them.

Owns what GGUF does to weights that transformers does not: llama's queries and keys have the halves that turn together
interleaved. Knows no graph.
"""

from collections.abc import Mapping

import numpy as np

from decoding.engines.onnx.weights import BlockMatrix, FloatMatrix, Matrix, Order
from decoding.errors import ModelError
from decoding.models.gguf import GgufFile, GgufTensor
from decoding.models.gguf_blocks import Floats, floats
from decoding.models.spec import ModelSpec
from decoding.models.spec_gguf import GGUF_MISSING

GGUF_SHAPE = "{file} has {name} in the shape {shape}, and its model needs {needed}. Download it again."


class GgufWeights:
    def __init__(self, file: GgufFile, spec: ModelSpec, names: Mapping[str, str], interleaved: bool) -> None:
        self._file, self._spec, self._names = file, spec, names
        self._interleaved = {"query": spec.heads, "key": spec.kv_heads} if interleaved else {}
        self._embedding: Matrix | None = None

    def matrix(self, name: str, layer: int | None = None) -> Matrix:
        if name == "embedding" and self._embedding:
            return self._embedding
        tensor = self._tensor(name, layer)
        outputs, inputs = tensor.shape
        raw = self._file.read(tensor)
        made: Matrix
        if tensor.kind.read:
            blocks = tensor.kind.read(raw.reshape(-1, tensor.kind.block_bytes))
            offsets = None if blocks.offsets is None else blocks.offsets.reshape(outputs, -1)
            numbers = blocks.numbers.reshape(outputs, -1, blocks.numbers.shape[1])
            made = BlockMatrix(numbers, blocks.scales.reshape(outputs, -1), offsets, blocks.zero, blocks.bits)
        else:
            made = FloatMatrix(floats(tensor.kind, raw).reshape(outputs, inputs))
        if heads := self._interleaved.get(name):
            made = made.take(halves_apart(outputs, heads))
        if name == "embedding":
            self._embedding = made  # perhaps the head as well
        return made

    def vector(self, name: str, layer: int | None = None) -> Floats:
        tensor = self._tensor(name, layer)
        found = floats(tensor.kind, self._file.read(tensor)).reshape(-1)
        heads = self._interleaved.get(name.removesuffix(".bias")) if name.endswith(".bias") else None
        return found[halves_apart(len(found), heads)] if heads else found

    def _tensor(self, name: str, layer: int | None) -> GgufTensor:
        known, _, last = name.partition(".")
        stored = self._names[known].format(layer=layer)
        if last:
            stored = stored.removesuffix("weight") + last
        if stored not in self._file.tensors:
            raise ModelError(GGUF_MISSING.format(file=self._file.path.name, name=stored))
        return self._file.tensors[stored]


def halves_apart(rows: int, heads: int) -> Order:
    """For each row of a head whose halves lie apart, where it is while they are interleaved."""
    order: Order = np.arange(rows).reshape(heads, rows // heads // 2, 2).swapaxes(1, 2).reshape(-1)
    return order
