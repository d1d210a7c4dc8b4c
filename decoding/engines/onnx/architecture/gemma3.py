"""Gemma 3, for text: norms of heads, two rotary embeddings, windows, norms on both sides of attention and MLP.

x  = √width · embedding
x += norm(output(attention(rotate(norm of heads(qkv(norm(x)))))))
x += norm(down(gelu(gate(norm(x))) · up(norm(x))))
"""

import numpy as np

from decoding.engines.onnx.architecture import llama
from decoding.engines.onnx.architecture.layers import LayerWriter

SAFETENSORS = llama.SAFETENSORS | {
    "after_attention_norm": "model.layers.{layer}.post_attention_layernorm.weight",
    "mlp_norm": "model.layers.{layer}.pre_feedforward_layernorm.weight",
    "after_mlp_norm": "model.layers.{layer}.post_feedforward_layernorm.weight",
}
NORMS_LESS_ONE = True
"""Its safetensors store every norm weight minus one."""


def write(layers: LayerWriter) -> None:
    graph, spec = layers.graph, layers.spec
    scale = graph.constant("embedding_scale", np.array([spec.embedding_scale], np.float32))
    x = graph.node("Mul", [layers.declare_inputs(), scale])  # (ids, width)
    normed = layers.rms_norm(x, "attention_norm", 0)
    for layer in range(spec.layers):
        layers.watch(x)
        # 1. qkv, norms of heads, rotary, attention  (ids, heads · head width)
        attention = layers.attention(layers.head_norms_qkv(normed, layer), layer)
        written = layers.rms_norm(layers.linear(attention, "output", layer), "after_attention_norm", layer)
        # 2. mlp  (ids, width)
        x, normed = layers.add_then_rms_norm(x, written, "mlp_norm", layer)
        more = layers.rms_norm(layers.gated_mlp(normed, layer), "after_mlp_norm", layer)
        # 3. the next layer's norm, or the last
        x, normed = layers.add_then_rms_norm(x, more, *layers.norm_after(layer))
    layers.write_logits(normed, layers.rms_norm)
