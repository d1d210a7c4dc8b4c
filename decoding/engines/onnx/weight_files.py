"""Reads a model's files, GGUF or safetensors, as weights under an architecture's names.

Owns how each format stores weights. GGUF interleaves the two rotary halves of llama's queries and keys. Of safetensors,
float32 values stay in their file; bfloat16 and float16 become float32, which is exact. Knows no graph.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from decoding.engines.onnx.weights import FloatMatrix, Matrix, shape_of
from decoding.errors import ModelError
from decoding.messages import Message
from decoding.models.gguf import GgufFile, GgufTensor
from decoding.models.gguf_blocks import Bytes, Floats, Order, floats
from decoding.models.safetensors import WIDTHS, StoredTensor
from decoding.models.spec import ModelSpec, NoGraphError

GGUF = {
    "embedding": "token_embd.weight",
    "position_embedding": "position_embd.weight",
    "attention_norm": "blk.{layer}.attn_norm.weight",
    "qkv": "blk.{layer}.attn_qkv.weight",
    "query": "blk.{layer}.attn_q.weight",
    "key": "blk.{layer}.attn_k.weight",
    "value": "blk.{layer}.attn_v.weight",
    "query_norm": "blk.{layer}.attn_q_norm.weight",
    "key_norm": "blk.{layer}.attn_k_norm.weight",
    "output": "blk.{layer}.attn_output.weight",
    "after_attention_norm": "blk.{layer}.post_attention_norm.weight",
    "mlp_norm": "blk.{layer}.ffn_norm.weight",
    "gate": "blk.{layer}.ffn_gate.weight",
    "up": "blk.{layer}.ffn_up.weight",
    "down": "blk.{layer}.ffn_down.weight",
    "after_mlp_norm": "blk.{layer}.post_ffw_norm.weight",
    "last_norm": "output_norm.weight",
    "head": "output.weight",
}
"""GGUF's names, which are the same for all families."""
_INTERLEAVED = ("llama",)
"""Architectures whose GGUF has the two halves of each query and key that turn together side by side."""


class GgufWeights:
    """Weights of a GGUF file. Raises ModelError for a tensor that is missing, has the wrong shape, or holds NaN or an
    infinity.
    """

    def __init__(self, file: GgufFile, spec: ModelSpec) -> None:
        self._file, self._spec = file, spec
        is_interleaved = file.metadata["general.architecture"] in _INTERLEAVED
        self._interleaved = {"query": spec.heads, "key": spec.kv_heads} if is_interleaved else {}
        self._used: set[str] = set()

    def matrix(self, name: str, layer: int | None = None) -> Matrix:
        tensor, raw = self._read(name, layer)
        if tensor.kind.read:
            with np.errstate(invalid="ignore"):
                blocks = tensor.kind.read(raw.reshape(-1, tensor.kind.block_bytes))
            self._check_finite(tensor, blocks.scales, blocks.offsets)
            return blocks.in_rows(tensor.shape[0], self._order(name, tensor))
        values = floats(tensor.kind, raw).reshape(tensor.shape)
        self._check_finite(tensor, values)
        return FloatMatrix(values[self._order(name, tensor)])

    def vector(self, name: str, layer: int | None = None) -> Floats:
        tensor, raw = self._read(name, layer)
        values = floats(tensor.kind, raw)
        self._check_finite(tensor, values)
        return values[self._order(name.removesuffix(".bias"), tensor)]

    def unused(self) -> list[str]:
        return sorted(self._file.tensors.keys() - self._used)

    def _order(self, name: str, tensor: GgufTensor) -> Order:
        heads = self._interleaved.get(name)
        return deinterleaved_rows(tensor.shape[0], heads) if heads else slice(None)

    def _check_finite(self, tensor: GgufTensor, *values: Floats | None) -> None:
        if not all(np.isfinite(one).all() for one in values if one is not None):
            what = f"{tensor.name} is NaN or infinite somewhere"
            raise ModelError(Message("gguf.damaged", file=self._file.path.name, what=what))

    def _read(self, name: str, layer: int | None) -> tuple[GgufTensor, Bytes]:
        stored = stored_name(GGUF, name, layer)
        tensor, file = self._file.tensors.get(stored), self._file.path.name
        if tensor is None:
            raise ModelError(Message("gguf.missing", file=file, name=stored))
        if tensor.shape != (needed := shape_of(self._spec, name)):
            raise ModelError(Message("gguf.shape", file=file, name=stored, shape=tensor.shape, needed=needed))
        self._used.add(stored)
        return tensor, self._file.read(tensor)


class SafetensorsWeights:
    """Weights of safetensors files. Raises NoGraphError for a tensor that is missing or stored in an unknown way."""

    def __init__(self, folder: Path, tensors: Mapping[str, StoredTensor], spec: ModelSpec, module: Any) -> None:
        """`module` is the family's, which says how its safetensors differ from a graph's weights."""
        self._folder, self._tensors, self._spec, self._names = folder, tensors, spec, module.SAFETENSORS
        self._by_inputs = getattr(module, "IS_TRANSPOSED", False)
        self._less_one = getattr(module, "NORMS_LESS_ONE", False)
        self._base = _without_base(tensors, self._names)
        self._used: set[str] = set()

    def matrix(self, name: str, layer: int | None = None) -> Matrix:
        is_transposed = self._by_inputs and name not in ("embedding", "position_embedding", "head")
        tensor = self._tensor(name, layer, is_transposed)
        if tensor.dtype == "F32" and tensor.offset % 4 == 0:
            return FloatMatrix(replace(tensor, file=tensor.file.relative_to(self._folder)), is_transposed)
        return FloatMatrix(tensor.read(), is_transposed)

    def vector(self, name: str, layer: int | None = None) -> Floats:
        values = self._tensor(name, layer, False).read()
        return values + np.float32(1) if self._less_one and "norm" in name else values

    def unused(self) -> list[str]:
        return sorted(self._tensors.keys() - self._used)

    def _tensor(self, name: str, layer: int | None, is_transposed: bool) -> StoredTensor:
        stored = stored_name(self._names, name, layer).removeprefix(self._base)
        tensor, needed = self._tensors.get(stored), shape_of(self._spec, name)
        if tensor is None:
            raise NoGraphError(f"its files lack {stored}")
        if tensor.dtype not in WIDTHS:
            raise NoGraphError(f"its {stored} is stored as {tensor.dtype}")
        if tensor.shape != (needed[::-1] if is_transposed else needed):
            raise NoGraphError(f"its {stored} has the shape {tensor.shape}")
        self._used.add(stored)
        return tensor


def _without_base(tensors: Mapping[str, StoredTensor], names: Mapping[str, str]) -> str:
    """The first part of every name ("transformer.") if the files omit it, as GPT-2's do; else ""."""
    whole = names["embedding"]
    base = whole.split(".")[0] + "."
    return base if whole not in tensors and whole.removeprefix(base) in tensors else ""


def stored_name(names: Mapping[str, str], name: str, layer: int | None) -> str:
    """The name of a weight in a file. A bias has the name of its matrix with another ending."""
    known, _, last = name.partition(".")
    stored = names[known].format(layer=layer)
    return stored.removesuffix("weight") + last if last else stored


def deinterleaved_rows(rows: int, heads: int) -> Order:
    """For each row of heads whose rotary halves are apart, its row while they are interleaved.  (rows,)"""
    return np.arange(rows).reshape(heads, rows // heads // 2, 2).swapaxes(1, 2).reshape(-1)
