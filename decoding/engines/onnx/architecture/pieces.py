"""What several architectures are made of: norms, attention with its cache, rotary embeddings, a graph's ends.

Owns the contract of every graph (see `begin`) and the arithmetic that families share. Knows no family.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import TensorProto

from decoding.engines.onnx.graph_builder import MICROSOFT, GraphBuilder
from decoding.engines.onnx.products import Products
from decoding.engines.onnx.weights import Weights, joined
from decoding.models.gguf_blocks import Floats
from decoding.models.spec import Llama3Scaling, ModelSpec, Rope


@dataclass(frozen=True, slots=True)
class Pieces:
    """A graph being written, with the model's facts and weights at hand."""

    graph: GraphBuilder
    products: Products
    weights: Weights
    spec: ModelSpec

    # 1. Ends

    def begin(self) -> str:
        """Declare inputs and outputs, and look the ids up.  (rows, ids) → (rows, ids, width)"""
        graph, spec = self.graph, self.spec
        ids = graph.input("input_ids", TensorProto.INT64, ["rows", "ids"])
        graph.input("seqlens_k", TensorProto.INT32, ["rows"])
        graph.input("total_length", TensorProto.INT32, [])
        graph.input("positions", TensorProto.INT64, ["said"])
        graph.output("logits", TensorProto.FLOAT, ["rows", "said", spec.vocabulary_size])
        for layer in range(spec.layers):
            for kind in "kv":
                past, new = (["rows", spec.kv_heads, length, spec.head_width] for length in ("past", "total"))
                graph.input(f"past_{kind}{layer}", TensorProto.FLOAT, past)
                graph.output(f"new_{kind}{layer}", TensorProto.FLOAT, new)
        for number, rope in enumerate(spec.ropes):
            angles = rope_angles(rope, spec.context_length)  # (context, half of what is turned)
            graph.constant(f"cos{number}", np.cos(angles))
            graph.constant(f"sin{number}", np.sin(angles))
        return self.products.rows(ids, self.weights.matrix("embedding"), "embedding")

    def end(self, x: str) -> None:
        """The logits of the positions that are asked for.  (rows, ids, width) → (rows, said, vocabulary)"""
        said = self.graph.node("Gather", [x, "positions"], axis=1)
        name = "embedding" if self.spec.tied_head else "head"
        self.products.linear(said, self.weights.matrix(name), name, out="logits")

    # 2. Norms

    def rms_norm(self, x: str, name: str, layer: int | None = None) -> str:
        weight = self._vector(name, layer)
        options: dict[str, Any] = {"axis": -1, "epsilon": self.spec.norm_epsilon, "stash_type": 1}
        return self.graph.node("SimplifiedLayerNormalization", [x, weight], **options)

    def add_rms_norm(self, x: str, more: str, name: str, layer: int | None = None) -> tuple[str, str]:
        """x + more, and its norm."""
        weight, number = self._vector(name, layer), f"{name}.{layer}"
        outputs = [f"{number}.normed", "", "", f"{number}.sum"]
        epsilon, op = self.spec.norm_epsilon, "SkipSimplifiedLayerNormalization"
        self.graph.nodes(op, [x, more, weight], outputs, domain=MICROSOFT, epsilon=epsilon)
        return outputs[3], outputs[0]

    def _vector(self, name: str, layer: int | None) -> str:
        return self.graph.constant(_named(name, layer), self.weights.vector(name, layer))

    # 3. Products

    def linear(self, x: str, name: str, layer: int, *, bias: bool = False) -> str:
        values = self.weights.vector(f"{name}.bias", layer) if bias else None
        return self.products.linear(x, self.weights.matrix(name, layer), _named(name, layer), bias=values)

    def linears(self, x: str, names: list[str], layer: int, *, bias: bool = False) -> list[str]:
        """Several products over the same x: one, where the matrices are stored alike, else one each."""
        together = joined([self.weights.matrix(name, layer) for name in names])
        if together is None:
            return [self.linear(x, name, layer, bias=bias) for name in names]
        values = np.concatenate([self.weights.vector(f"{name}.bias", layer) for name in names]) if bias else None
        return [self.products.linear(x, together, _named("_".join(names), layer), bias=values)]

    # 4. Attention

    def attention(self, qkv: list[str], layer: int) -> str:
        """Queries, keys and values, apart or as one, to what is attended to. Rotates, and adds to the cache.

        (rows, ids, (heads + 2 · kv heads) · head width) → (rows, ids, heads · head width)
        """
        spec, cache = self.spec, [f"k{layer}", f"v{layer}"]
        tables = []
        if spec.ropes:
            number = spec.rope_of_layer[layer]
            tables = [f"cos{number}", f"sin{number}"]
        self.graph.nodes(
            "GroupQueryAttention",
            [
                *(qkv if len(qkv) == 3 else [*qkv, "", ""]),
                *(f"past_{one}" for one in cache),
                "seqlens_k",
                "total_length",
                *tables,
            ],
            [f"attention.{layer}", *(f"new_{one}" for one in cache)],
            domain=MICROSOFT,
            num_heads=spec.heads,
            kv_num_heads=spec.kv_heads,
            scale=spec.attention_scale,
            do_rotary=int(bool(tables)),
            rotary_interleaved=0,
            local_window_size=spec.window(layer) or -1,
        )
        return f"attention.{layer}"


def rope_angles(rope: Rope, context: int) -> Floats:
    """The angle of each position and pair, in float32 as transformers computes it.  (context, width / 2)"""
    exponents = np.arange(0, rope.width, 2, dtype=np.float32) / np.float32(rope.width)
    frequencies: Floats = (1 / np.float32(rope.base) ** exponents).astype(np.float32)
    if rope.llama3:
        frequencies = _llama3(frequencies, rope.llama3)
    frequencies = (frequencies / np.float32(rope.linear_factor)).astype(np.float32)
    angles: Floats = np.arange(context, dtype=np.float32)[:, None] * frequencies
    return angles


def _llama3(frequencies: Floats, scaling: Llama3Scaling) -> Floats:
    """Slow frequencies are divided by the factor, fast ones stay, those between are blended."""
    turns = scaling.original_context * frequencies / np.float32(2 * np.pi)  # within the original context
    low, high = scaling.low_frequency_factor, scaling.high_frequency_factor
    fast = np.clip((turns - low) / (high - low), 0, 1)
    blended: Floats = ((1 - fast) * frequencies / scaling.factor + fast * frequencies).astype(np.float32)
    return blended


def _named(name: str, layer: int | None) -> str:
    return name if layer is None else f"{name}.{layer}"
