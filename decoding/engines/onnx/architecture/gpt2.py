"""GPT-2: learned positions, norms with a mean, biases everywhere.

x += output(attention(qkv(norm(x))))
x += down(gelu(up(norm(x))))
"""

from decoding.engines.onnx.architecture.layers import LayerWriter

SAFETENSORS = {
    "embedding": "transformer.wte.weight",
    "position_embedding": "transformer.wpe.weight",
    "attention_norm": "transformer.h.{layer}.ln_1.weight",
    "qkv": "transformer.h.{layer}.attn.c_attn.weight",
    "output": "transformer.h.{layer}.attn.c_proj.weight",
    "mlp_norm": "transformer.h.{layer}.ln_2.weight",
    "up": "transformer.h.{layer}.mlp.c_fc.weight",
    "down": "transformer.h.{layer}.mlp.c_proj.weight",
    "last_norm": "transformer.ln_f.weight",
    "head": "lm_head.weight",
}
IS_TRANSPOSED = True
"""Its safetensors hold matrices as (inputs, outputs)."""


def write(layers: LayerWriter) -> None:
    graph, spec = layers.graph, layers.spec
    x = graph.node("Add", [layers.declare_inputs(), layers.learned_positions()])  # (ids, width)
    normed = layers.layer_norm(x, "attention_norm", 0)
    for layer in range(spec.layers):
        layers.watch(x)
        # 1. qkv, attention  (ids, heads · head width)
        qkv = layers.linear(normed, "qkv", layer)
        written = layers.linear(layers.attention([qkv], layer), "output", layer)
        # 2. mlp  (ids, width)
        x, normed = layers.add_then_layer_norm(x, written, "mlp_norm", layer)
        inner = layers.activation(layers.linear(normed, "up", layer))
        more = layers.linear(inner, "down", layer)
        # 3. the next layer's norm, or the last
        x, normed = layers.add_then_layer_norm(x, more, *layers.norm_after(layer))
    layers.write_logits(normed, layers.layer_norm)
