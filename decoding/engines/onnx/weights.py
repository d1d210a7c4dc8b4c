"""A model's weights for a graph: matrices of floats or of quantized blocks, under the names that architectures use.

Owns the kinds of matrices, the protocol of a source of weights, and the shape that each weight must have. Knows no
family, no file format and no operator.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from decoding.models.gguf_blocks import Blocks, Floats
from decoding.models.safetensors import StoredTensor
from decoding.models.spec import ModelSpec


@dataclass(frozen=True, slots=True, eq=False)
class FloatMatrix:
    """Rows of float32."""

    values: Floats | StoredTensor
    """(outputs, inputs), in memory or in a file, which is named from the model's folder."""
    is_transposed: bool = False
    """Stored as (inputs, outputs), as GPT-2's matrices are."""


Matrix = FloatMatrix | Blocks
"""Blocks are in the rows of the matrix."""


class Weights(Protocol):
    """A source of a graph's weights."""

    def matrix(self, name: str, layer: int | None = None) -> Matrix: ...

    def vector(self, name: str, layer: int | None = None) -> Floats: ...

    def unused(self) -> list[str]:
        """Names of stored tensors that have not been read."""
        ...


def concatenated(matrices: Sequence[Matrix]) -> Matrix | None:
    """The rows of several matrices as one matrix; None if they are stored differently, or in a file of the model."""
    first = matrices[0]
    if isinstance(first, FloatMatrix):
        plain = [one.values for one in matrices if isinstance(one, FloatMatrix) and not one.is_transposed]
        here = [values for values in plain if isinstance(values, np.ndarray)]
        return FloatMatrix(np.concatenate(here)) if len(here) == len(matrices) else None
    alike = [one for one in matrices if isinstance(one, Blocks) and _layout_of(one) == _layout_of(first)]
    if len(alike) < len(matrices):
        return None
    moved = [one.offsets for one in alike if one.offsets is not None]
    offsets = np.concatenate(moved) if moved else None
    numbers = np.concatenate([one.numbers for one in alike])
    scales = np.concatenate([one.scales for one in alike])
    return Blocks(numbers, scales, offsets, first.zero, first.bits)


def _layout_of(matrix: Blocks) -> tuple[int, int, int, bool]:
    return matrix.zero, matrix.bits, matrix.numbers.shape[2], matrix.offsets is not None


def shape_of(spec: ModelSpec, name: str) -> tuple[int, ...]:
    """The shape that a weight must have, rows (outputs) first."""
    width, queries, keys = spec.width, spec.heads * spec.head_width, spec.kv_heads * spec.head_width
    matrices = {
        "embedding": (spec.vocabulary_size, width),
        "head": (spec.vocabulary_size, width),
        "position_embedding": (spec.context_length, width),
        "qkv": (queries + 2 * keys, width),
        "query": (queries, width),
        "key": (keys, width),
        "value": (keys, width),
        "output": (width, queries),
        "gate": (spec.mlp_width, width),
        "up": (spec.mlp_width, width),
        "down": (width, spec.mlp_width),
    }
    matrix, _, last = name.partition(".")
    if last == "bias" and matrix in matrices:
        return matrices[matrix][:1]
    return matrices.get(name) or ((spec.head_width,) if name in ("query_norm", "key_norm") else (width,))
