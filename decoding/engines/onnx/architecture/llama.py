"""Llama and its relatives: Mistral (windows), Qwen 2 (biases), Qwen 3 (norms of heads).

x += output(attention(rotate(qkv(norm(x)))))
x += down(silu(gate(norm(x))) · up(norm(x)))
"""

from decoding.engines.onnx.architecture.layers import LayerWriter

SAFETENSORS = {
    "embedding": "model.embed_tokens.weight",
    "attention_norm": "model.layers.{layer}.input_layernorm.weight",
    "query": "model.layers.{layer}.self_attn.q_proj.weight",
    "key": "model.layers.{layer}.self_attn.k_proj.weight",
    "value": "model.layers.{layer}.self_attn.v_proj.weight",
    "query_norm": "model.layers.{layer}.self_attn.q_norm.weight",
    "key_norm": "model.layers.{layer}.self_attn.k_norm.weight",
    "output": "model.layers.{layer}.self_attn.o_proj.weight",
    "mlp_norm": "model.layers.{layer}.post_attention_layernorm.weight",
    "gate": "model.layers.{layer}.mlp.gate_proj.weight",
    "up": "model.layers.{layer}.mlp.up_proj.weight",
    "down": "model.layers.{layer}.mlp.down_proj.weight",
    "last_norm": "model.norm.weight",
    "head": "lm_head.weight",
}


def write(layers: LayerWriter) -> None:
    spec = layers.spec
    x = layers.declare_inputs()  # (ids, width)
    normed = layers.rms_norm(x, "attention_norm", 0)
    for layer in range(spec.layers):
        layers.watch(x)
        # 1. qkv, rotary, attention  (ids, heads · head width)
        if spec.head_norms:
            qkv = layers.head_norms_qkv(normed, layer)
        else:
            qkv = layers.linears(normed, ["query", "key", "value"], layer)
        written = layers.linear(layers.attention(qkv, layer), "output", layer)
        # 2. mlp  (ids, width)
        x, normed = layers.add_then_rms_norm(x, written, "mlp_norm", layer)
        more = layers.gated_mlp(normed, layer)
        # 3. the next layer's norm, or the last
        x, normed = layers.add_then_rms_norm(x, more, *layers.norm_after(layer))
    layers.write_logits(normed, layers.rms_norm)
