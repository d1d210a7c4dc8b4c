"""Writes an ONNX graph: nodes, constants, and a file of weights beside it.

Owns names, and where a large constant is stored. Knows no family and no format of weights. A large constant is external
data in `weights.bin`, which is written as the graph grows and mapped by ONNX Runtime. Constants of different shapes may
share the same bytes.

Operators beside ONNX's own are ONNX Runtime's (domain com.microsoft).
"""

import json
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from decoding.engines.onnx.graph_files import GRAPH_FILE, OUTSIDE_FILE, WEIGHTS_FILE
from decoding.models.safetensors import StoredTensor

MICROSOFT = "com.microsoft"
_INLINE_BYTES = 1024  # up to here a constant stands in the graph itself
_ALIGNMENT = 4096  # a page
_OPSETS = (helper.make_opsetid("", 18), helper.make_opsetid(MICROSOFT, 1))
_IR_VERSION = 9


class GraphBuilder:
    """A graph being written. Large constants go into the file `weights` at once."""

    def __init__(self, weights: BinaryIO) -> None:
        self._file = weights
        self._nodes: list[NodeProto] = []
        self._constants: dict[str, TensorProto] = {}
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._outside: dict[str, tuple[str, int, tuple[int, ...]]] = {}
        self._block_sums: dict[tuple[str, int], str] = {}

    # 1. Constants

    def has(self, constant: str) -> bool:
        """Whether there is a constant of this name."""
        return constant in self._constants

    def constant(self, name: str, values: NDArray[Any]) -> str:
        """Add an array as a constant; a large one is written to disk at once. Returns its name."""
        values = np.ascontiguousarray(values)
        if values.nbytes <= _INLINE_BYTES:
            self._constants[name] = numpy_helper.from_array(values, name)
            return name
        self._file.seek(-(-self._file.tell() // _ALIGNMENT) * _ALIGNMENT)
        begin = self._file.tell()
        values.tofile(self._file)
        kind = int(helper.np_dtype_to_tensor_dtype(values.dtype))
        return self.external(name, kind, values.shape, WEIGHTS_FILE, begin, values.nbytes)

    def external(self, name: str, kind: int, shape: Sequence[int], file: str, offset: int, size: int) -> str:
        """Add a constant whose bytes are in a file of the graph's folder. Returns its name."""
        tensor = TensorProto(name=name, data_type=kind, dims=shape, data_location=TensorProto.EXTERNAL)
        for key, value in (("location", file), ("offset", offset), ("length", size)):
            tensor.external_data.add(key=key, value=str(value))
        self._constants[name] = tensor
        return name

    def external_floats(self, name: str, stored: StoredTensor) -> str:
        """Add float32 values from a file of the model. A session gets them when it is opened. Returns the name."""
        self._outside[name] = (stored.file.as_posix(), stored.offset, stored.shape)
        return self.external(name, TensorProto.FLOAT, stored.shape, OUTSIDE_FILE, 0, 4 * prod(stored.shape))

    def alias(self, name: str, constant: str, shape: Sequence[int]) -> str:
        """Add another name for the bytes of a constant, in another shape."""
        tensor = TensorProto()
        tensor.CopyFrom(self._constants[constant])
        del tensor.dims[:]
        tensor.dims.extend(shape)
        tensor.name = name
        self._constants[name] = tensor
        return name

    def ints(self, *values: int) -> str:
        """A small constant of int64, for a shape or an axis."""
        name = "ints_" + "_".join(map(str, values))
        self._constants[name] = numpy_helper.from_array(np.array(values, np.int64), name)
        return name

    # 2. Nodes

    def node(self, op: str, inputs: Sequence[str], *, domain: str = "", **options: Any) -> str:
        """Add a node of one output, and return its name."""
        return self.nodes(op, inputs, [f"t{len(self._nodes)}"], domain=domain, **options)[0]

    def nodes(
        self, op: str, inputs: Sequence[str], outputs: list[str], *, domain: str = "", **options: Any
    ) -> list[str]:
        """Add a node of several outputs ("" for one that is not wanted), and return their names."""
        self._nodes.append(helper.make_node(op, inputs, outputs, domain=domain, **options))
        return outputs

    def rename(self, name: str, to: str) -> None:
        """Give the output of the last node its name in the graph's contract."""
        assert [*self._nodes[-1].output] == [name]
        self._nodes[-1].output[0] = to

    def split(self, x: str, sizes: Sequence[int]) -> list[str]:
        """Split the last axis into parts of these sizes."""
        outputs = [f"t{len(self._nodes)}_{part}" for part in range(len(sizes))]
        return self.nodes("Split", [x, self.ints(*sizes)], outputs, axis=-1)

    def block_sums(self, x: str, blocks: int, block: int) -> str:
        """The sum of each block of x, which is added once.  (ids, blocks)"""
        if (x, block) not in self._block_sums:
            by_block = self.node("Reshape", [x, self.ints(0, blocks, block)])
            self._block_sums[x, block] = self.node("ReduceSum", [by_block, self.ints(-1)], keepdims=0)
        return self._block_sums[x, block]

    # 3. The whole

    def input(self, name: str, kind: int, shape: Sequence[str | int]) -> str:
        self._inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def output(self, name: str, kind: int, shape: Sequence[str | int]) -> str:
        self._outputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def model(self, name: str) -> bytes:
        """The graph, under a name, as ONNX stores it."""
        graph = helper.make_graph(self._nodes, name, self._inputs, self._outputs, list(self._constants.values()))
        model = helper.make_model(graph, opset_imports=_OPSETS, producer_name="greedyscope", ir_version=_IR_VERSION)
        return bytes(model.SerializeToString())

    def save(self, folder: Path, name: str) -> None:
        """Write the graph, and where its weights in the model's own files are, into a folder."""
        (folder / GRAPH_FILE).write_bytes(self.model(name))
        (folder / OUTSIDE_FILE).write_text(json.dumps(self._outside, indent=1), "utf-8")
