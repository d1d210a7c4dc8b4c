"""A model's facts as transformers' configuration. Knows no weights."""

from typing import Any

from decoding.models.spec import ModelSpec, Rope

_ACTIVATIONS = {"silu": "silu", "gelu": "gelu", "gelu_tanh": "gelu_pytorch_tanh"}


def config_of(spec: ModelSpec) -> dict[str, Any]:
    """What `AutoConfig.for_model` takes."""
    config: dict[str, Any] = {
        "vocab_size": spec.vocabulary_size,
        "tie_word_embeddings": spec.tied_head,
        "bos_token_id": spec.beginning_id,
        "eos_token_id": sorted(spec.end_ids) or None,
        "pad_token_id": None,
    }
    return config | {"llama": _llama, "gemma3": _gemma3, "gpt2": _gpt2, "gpt_neox": _gpt_neox}[spec.family](spec)


def parameters_of(spec: ModelSpec) -> int:
    """How many there are, but for norms and biases."""
    attention = 2 * spec.head_width * (spec.heads + spec.kv_heads)
    matrices = 2 if spec.family.startswith("gpt") else 3
    ends = spec.vocabulary_size * spec.width * (1 if spec.tied_head else 2)
    return spec.layers * spec.width * (attention + matrices * spec.mlp_width) + ends


def _grouped(spec: ModelSpec) -> dict[str, Any]:
    """What Llama and its relatives are described by."""
    return {
        "hidden_size": spec.width,
        "num_hidden_layers": spec.layers,
        "num_attention_heads": spec.heads,
        "num_key_value_heads": spec.kv_heads,
        "head_dim": spec.head_width,
        "intermediate_size": spec.mlp_width,
        "max_position_embeddings": spec.context_length,
        "rms_norm_eps": spec.norm_epsilon,
    }


def _llama(spec: ModelSpec) -> dict[str, Any]:
    config = _grouped(spec) | {"hidden_act": _ACTIVATIONS[spec.activation], "rope_parameters": _rope(spec.ropes[0])}
    if spec.head_norms:
        return config | {"model_type": "qwen3", "attention_bias": spec.qkv_bias}
    if any(spec.windows):
        return config | {"model_type": "mistral", "sliding_window": max(spec.windows)}
    if spec.qkv_bias and not spec.output_bias:
        return config | {"model_type": "qwen2"}
    return config | {"model_type": "llama", "attention_bias": spec.qkv_bias, "mlp_bias": spec.mlp_bias}


def _gemma3(spec: ModelSpec) -> dict[str, Any]:
    kinds = ["sliding_attention" if window else "full_attention" for window in spec.windows]
    return _grouped(spec) | {
        "model_type": "gemma3_text",
        "hidden_activation": _ACTIVATIONS[spec.activation],
        "query_pre_attn_scalar": spec.attention_scale**-2,
        "sliding_window": max(spec.windows),
        "layer_types": kinds,
        "rope_parameters": {
            "full_attention": _rope(spec.ropes[0]),
            "sliding_attention": _rope(spec.ropes[1]),
        },
    }


def _gpt2(spec: ModelSpec) -> dict[str, Any]:
    return {
        "model_type": "gpt2",
        "n_embd": spec.width,
        "n_layer": spec.layers,
        "n_head": spec.heads,
        "n_inner": spec.mlp_width,
        "n_positions": spec.context_length,
        "layer_norm_epsilon": spec.norm_epsilon,
        "activation_function": "gelu_new",
    }


def _gpt_neox(spec: ModelSpec) -> dict[str, Any]:
    return {
        "model_type": "gpt_neox",
        "hidden_size": spec.width,
        "num_hidden_layers": spec.layers,
        "num_attention_heads": spec.heads,
        "intermediate_size": spec.mlp_width,
        "max_position_embeddings": spec.context_length,
        "layer_norm_eps": spec.norm_epsilon,
        "hidden_act": _ACTIVATIONS[spec.activation],
        "attention_bias": spec.qkv_bias,
        "use_parallel_residual": spec.parallel_residual,
        "rope_parameters": _rope(spec.ropes[0]) | {"partial_rotary_factor": spec.ropes[0].width / spec.head_width},
    }


def _rope(rope: Rope) -> dict[str, Any]:
    if rope.linear_factor != 1:
        return {"rope_type": "linear", "rope_theta": rope.base, "factor": rope.linear_factor}
    return {"rope_type": "default", "rope_theta": rope.base}
