"""The layers that architectures share: norms, attention with its KV cache, rotary embeddings, MLPs.

Owns the inputs and outputs of every graph (see `declare_inputs`) and the arithmetic that families share. Knows no
family.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from onnx import TensorProto

from decoding.engines.onnx.graph_builder import MICROSOFT, GraphBuilder
from decoding.engines.onnx.matmul_nodes import Products
from decoding.engines.onnx.weights import Matrix, Weights, concatenated
from decoding.models.gguf_blocks import Floats
from decoding.models.spec import ModelSpec, Rope


@dataclass(frozen=True, slots=True)
class LayerWriter:
    """Writes layers into a graph. Each method adds nodes and returns the names of their outputs."""

    graph: GraphBuilder
    products: Products
    weights: Weights
    spec: ModelSpec
    is_gguf: bool
    shares_beginnings: bool = True
    """Whether a pass over several texts can read once what they begin with."""
    states: list[str] = field(default_factory=list)
    """The state before each layer, at `layers_at` alone.  (layers_at, width)"""

    # 1. Ends

    def declare_inputs(self) -> str:
        """Declare inputs and outputs, and look up the embedding.  (ids,) → (ids, width)

        - `input_ids` (ids,): those of every text of the pass; `positions` (wanted,): the places whose logits are wanted
        - `texts_at` (texts, width): the place of each text's ids in `input_ids`; `ids_at` (ids, 2): a text that has the
          id, and its place there. Attention is over texts, all else over ids. Without `shares_beginnings` there is
          neither, and the ids are one text
        - `layers_at` (watched,): the places whose every layer is wanted, too; none but for a lens
        - `seqlens_k` (texts,): filled positions after this pass, less one; `total_length` (): the largest of them
        - `past_k0`, `past_v0`, … (texts, kv heads, past, head width), `new_k0`, … (texts, kv heads, total, head width)
        - `logits` (wanted + layers · watched, vocabulary): after the ids at `positions`; then as the last norm and the
          head read the state before each layer, layer by layer
        """
        graph, spec = self.graph, self.spec
        ids = graph.input("input_ids", TensorProto.INT64, ["ids"])
        texts = "texts" if self.shares_beginnings else 1
        if self.shares_beginnings:
            graph.input("texts_at", TensorProto.INT64, [texts, "width"])
            graph.input("ids_at", TensorProto.INT64, ["ids", 2])
        graph.input("seqlens_k", TensorProto.INT32, [texts])
        graph.input("total_length", TensorProto.INT32, [])
        graph.input("positions", TensorProto.INT64, ["wanted"])
        graph.input("layers_at", TensorProto.INT64, ["watched"])
        graph.output("logits", TensorProto.FLOAT, ["all_wanted", spec.vocabulary_size])
        for layer in range(spec.layers):
            for kind in "kv":
                past, new = ([texts, spec.kv_heads, length, spec.head_width] for length in ("past", "total"))
                graph.input(f"past_{kind}{layer}", TensorProto.FLOAT, past)
                graph.output(f"new_{kind}{layer}", TensorProto.FLOAT, new)
        for number, rope in enumerate(spec.ropes):
            angles = rope_angles(rope, spec.context_length)  # (context, half of what is turned)
            graph.constant(f"cos{number}", np.cos(angles))
            graph.constant(f"sin{number}", np.sin(angles))
        return self.products.rows(ids, self.weights.matrix("embedding"), "embedding")

    def watch(self, x: str) -> None:
        """Keep the state before a layer at `layers_at`. Where that is empty, nothing is copied or computed."""
        self.states.append(self.graph.node("Gather", [x, "layers_at"]))  # (watched, width)

    def write_logits(self, normed: str, norm: Callable[[str, str], str]) -> None:
        """Compute the logits after the ids at `positions`, and of the states that `watch` kept. `norm` writes the last
        norm.  (ids, width) → (wanted + layers · watched, vocabulary)
        """
        graph = self.graph
        states = norm(graph.node("Concat", self.states, axis=0), "last_norm")  # (layers · watched, width)
        wanted = graph.node("Concat", [graph.node("Gather", [normed, "positions"]), states], axis=0)
        name = "embedding" if self.spec.tied_head else "head"
        graph.rename(self.products.linear(wanted, self.weights.matrix(name), name), "logits")

    # 2. Norms

    def rms_norm(self, x: str, name: str, layer: int | None = None) -> str:
        inputs = [x, self._vector(name, layer)]
        return self.graph.node("SimplifiedLayerNormalization", inputs, epsilon=self.spec.norm_epsilon)

    def add_then_rms_norm(self, x: str, more: str, name: str, layer: int | None = None) -> tuple[str, str]:
        """x + more, and its norm."""
        weights = [self._vector(name, layer)]
        return self._add_then("SkipSimplifiedLayerNormalization", [x, more, *weights], _named(name, layer))

    def layer_norm(self, x: str, name: str, layer: int | None = None) -> str:
        inputs = [x, self._vector(name, layer), self._vector(f"{name}.bias", layer)]
        return self.graph.node("LayerNormalization", inputs, epsilon=self.spec.norm_epsilon)

    def add_then_layer_norm(self, x: str, more: str, name: str, layer: int | None = None) -> tuple[str, str]:
        """x + more, and its norm."""
        weights = [self._vector(name, layer), self._vector(f"{name}.bias", layer)]
        return self._add_then("SkipLayerNormalization", [x, more, *weights], _named(name, layer))

    def _add_then(self, op: str, inputs: list[str], out: str) -> tuple[str, str]:
        outputs = [f"{out}.normed", "", "", f"{out}.sum"]
        self.graph.nodes(op, inputs, outputs, domain=MICROSOFT, epsilon=self.spec.norm_epsilon)
        return outputs[3], outputs[0]

    def norm_after(self, layer: int) -> tuple[str, int | None]:
        """The norm that a layer ends with: the next layer's first, or the last of all."""
        return ("last_norm", None) if layer + 1 == self.spec.layers else ("attention_norm", layer + 1)

    def _vector(self, name: str, layer: int | None) -> str:
        if self.graph.has(_named(name, layer)):  # the last norm is written twice
            return _named(name, layer)
        return self.graph.constant(_named(name, layer), self.weights.vector(name, layer))

    # 3. Products

    def linear(self, x: str, name: str, layer: int) -> str:
        """matrix · x, plus a bias where the model has one."""
        return self._product(x, self.weights.matrix(name, layer), [name], layer)

    def linears(self, x: str, names: list[str], layer: int) -> list[str]:
        """Several products over the same x, as one product if the matrices are stored alike."""
        together = concatenated([self.weights.matrix(name, layer) for name in names])
        if together is None:
            return [self.linear(x, name, layer) for name in names]
        return [self._product(x, together, names, layer)]

    def _product(self, x: str, matrix: Matrix, names: list[str], layer: int) -> str:
        name = _named("_".join(names), layer)
        product = self.products.linear(x, matrix, name)
        if not self.spec.has_bias(names[0]):
            return product
        bias = np.concatenate([self.weights.vector(f"{one}.bias", layer) for one in names])
        return self.graph.node("Add", [product, self.graph.constant(f"{name}.bias", bias)])

    def activation(self, x: str) -> str:
        """silu, gelu (with erf) or gelu_tanh.  (ids, …), the same shape"""
        kind = self.spec.activation
        if kind == "silu":
            return self.graph.node("QuickGelu", [x], domain=MICROSOFT, alpha=1.0)  # x · sigmoid(x)
        return self.graph.node("FastGelu" if kind == "gelu_tanh" else "Gelu", [x], domain=MICROSOFT)

    def gated_mlp(self, x: str, layer: int) -> str:
        """down(activation(gate) · up).  (ids, width), the same shape"""
        both = self.linears(x, ["gate", "up"], layer)
        gate, up = both if len(both) == 2 else self.graph.split(both[0], [self.spec.mlp_width] * 2)
        inner = self.graph.node("Mul", [self.activation(gate), up])  # (ids, MLP's width)
        return self.linear(inner, "down", layer)

    # 4. Attention

    def learned_positions(self) -> str:
        """The embedding of each id's position.  (ids, width)

        A text's first position in this pass is seqlens_k + 1 − width; in a first pass over texts of different lengths
        that is below zero for the shorter ones, which begin at 0 and whose last places are padding.
        """
        graph = self.graph
        texts = self._by_texts("input_ids")  # (texts, width)
        width = graph.node("Shape", [texts], start=1, end=2)  # (1,)
        read = graph.node("Add", [graph.node("Cast", ["seqlens_k"], to=TensorProto.INT64), graph.ints(1)])
        first = graph.node("Max", [graph.node("Sub", [read, width]), graph.ints(0)])  # (texts,)
        count = graph.node("Squeeze", [width])
        zero, one = (graph.constant(f"int_{n}", np.array(n, np.int64)) for n in (0, 1))
        steps = graph.node("Range", [zero, count, one])  # (width,)
        positions = graph.node("Add", [graph.node("Unsqueeze", [first, graph.ints(-1)]), steps])  # (texts, width)
        positions = self._by_ids(positions)  # (ids,)
        return self.products.rows(positions, self.weights.matrix("position_embedding"), "position_embedding")

    def head_norms_qkv(self, x: str, layer: int) -> list[str]:
        """Queries, keys and values, with a norm over each head of queries and keys."""
        spec, graph = self.spec, self.graph
        qkv = self.linears(x, ["query", "key", "value"], layer)
        if len(qkv) == 1:
            sizes = [spec.heads * spec.head_width, *[spec.kv_heads * spec.head_width] * 2]
            qkv = graph.split(qkv[0], sizes)
        normed = []
        for part, name in zip(qkv, ("query_norm", "key_norm"), strict=False):
            by_heads = graph.node("Reshape", [part, graph.ints(0, -1, spec.head_width)])
            normed.append(graph.node("Reshape", [self.rms_norm(by_heads, name, layer), graph.ints(0, -1)]))
        return [*normed, qkv[2]]

    def attention(self, qkv: list[str], layer: int) -> str:
        """Attention over queries, keys and values, given apart or as one. Rotates them and appends to the KV cache.

        (ids, (heads + 2 · kv heads) · head width) → (ids, heads · head width)
        """
        spec, cache = self.spec, [f"k{layer}", f"v{layer}"]
        qkv, tables = [self._by_texts(part) for part in qkv], []  # (texts, width, …)
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
            local_window_size=spec.window(layer) or -1,
        )
        return self._by_ids(f"attention.{layer}")

    def _by_texts(self, x: str) -> str:
        """(ids, …) → (texts, width, …)"""
        if self.shares_beginnings:
            return self.graph.node("Gather", [x, "texts_at"])
        return self.graph.node("Unsqueeze", [x, self.graph.ints(0)])

    def _by_ids(self, x: str) -> str:
        """(texts, width, …) → (ids, …)"""
        if self.shares_beginnings:
            return self.graph.node("GatherND", [x, "ids_at"])
        return self.graph.node("Squeeze", [x, self.graph.ints(0)])


def rope_angles(rope: Rope, context: int) -> Floats:
    """The rotary angle of each position and pair, in float32; a scaled frequency is computed in float64 and rounded.
    (context, width / 2)
    """
    exponents = np.arange(0, rope.width, 2, dtype=np.float32) / np.float32(rope.width)
    frequencies: Floats = (1 / np.float32(rope.base) ** exponents).astype(np.float32)
    if rope.divisors:
        frequencies = (frequencies / np.array(rope.divisors)).astype(np.float32)
    angles: Floats = np.arange(context, dtype=np.float32)[:, None] * frequencies
    return angles


def _named(name: str, layer: int | None) -> str:
    return name if layer is None else f"{name}.{layer}"
