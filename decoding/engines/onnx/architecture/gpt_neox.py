"""GPT-NeoX, and the Korean polyglot-ko: part of each head turns, attention and MLP read the same x.

x += output(attention(rotate(qkv(norm(x))))) + down(gelu(up(other norm(x))))    parallel
x += output(attention(…)), x += down(gelu(up(norm(x))))                         one after the other
"""

from decoding.engines.onnx.architecture.layers import LayerWriter

SAFETENSORS = {
    "embedding": "gpt_neox.embed_in.weight",
    "attention_norm": "gpt_neox.layers.{layer}.input_layernorm.weight",
    "qkv": "gpt_neox.layers.{layer}.attention.query_key_value.weight",
    "output": "gpt_neox.layers.{layer}.attention.dense.weight",
    "mlp_norm": "gpt_neox.layers.{layer}.post_attention_layernorm.weight",
    "up": "gpt_neox.layers.{layer}.mlp.dense_h_to_4h.weight",
    "down": "gpt_neox.layers.{layer}.mlp.dense_4h_to_h.weight",
    "last_norm": "gpt_neox.final_layer_norm.weight",
    "head": "embed_out.weight",
}


def write(layers: LayerWriter) -> None:
    graph, spec = layers.graph, layers.spec
    x = layers.declare_inputs()  # (ids, width)
    normed = layers.layer_norm(x, "attention_norm", 0)
    for layer in range(spec.layers):
        layers.watch(x)
        # 1. qkv, rotary, attention  (ids, heads · head width)
        qkv = _qkv(layers, normed, layer)
        written = layers.linear(layers.attention([qkv], layer), "output", layer)
        # 2. mlp  (ids, width)
        if spec.parallel_residual:
            normed, both = layers.layer_norm(x, "mlp_norm", layer), graph.node("Add", [x, written])
        else:
            both, normed = layers.add_then_layer_norm(x, written, "mlp_norm", layer)
        inner = layers.activation(layers.linear(normed, "up", layer))
        more = layers.linear(inner, "down", layer)
        # 3. the next layer's norm, or the last
        x, normed = layers.add_then_layer_norm(both, more, *layers.norm_after(layer))
    layers.write_logits(normed, layers.layer_norm)


def _qkv(layers: LayerWriter, x: str, layer: int) -> str:
    """Queries, keys and values, one after the other. Its safetensors have them head by head.

    (ids, heads · 3 · head width) → (ids, 3 · heads · head width)
    """
    graph, spec = layers.graph, layers.spec
    qkv = layers.linear(x, "qkv", layer)
    if layers.is_gguf:
        return qkv
    by_heads = graph.node("Reshape", [qkv, graph.ints(0, spec.heads, 3, spec.head_width)])
    by_kinds = graph.node("Transpose", [by_heads], perm=[0, 2, 1, 3])
    return graph.node("Reshape", [by_kinds, graph.ints(0, -1)])
