"""Every causal language model that the installed transformers knows, at tiny size.

Owns how a configuration is made small: by the names of its fields, and by a few words on the families that need more.
"""

from collections.abc import Mapping
from typing import Any

import torch
from transformers import CONFIG_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING, AutoModelForCausalLM, PreTrainedConfig

from tests.tiny_models import CONTEXT, VOCABULARY

# What fields of a configuration are called, by what they hold.
_SIZES: dict[str, Any] = {
    **dict.fromkeys(["hidden_size", "d_model", "n_embd", "emb_dim", "dim", "embedding_size", "lru_width"], 32),
    **dict.fromkeys(["attention_hidden_size", "word_embed_proj_dim", "hidden_dim", "n_embed"], 32),
    **dict.fromkeys(["num_hidden_layers", "n_layers", "n_layer", "num_layers", "decoder_layers"], 2),
    **dict.fromkeys(["encoder_layers", "num_decoder_layers", "num_encoder_layers"], 2),
    **dict.fromkeys(["num_attention_heads", "n_heads", "n_head", "num_heads", "decoder_attention_heads"], 4),
    **dict.fromkeys(["encoder_attention_heads", "num_decoder_attention_heads", "num_encoder_attention_heads"], 4),
    **dict.fromkeys(["num_key_value_heads", "swa_num_key_value_heads", "index_n_heads"], 2),
    **dict.fromkeys(["head_dim", "d_head", "d_kv", "swa_head_dim", "global_head_dim", "attention_head_dim"], 8),
    **dict.fromkeys(["intermediate_size", "ffn_dim", "d_inner", "d_ff", "decoder_ffn_dim", "encoder_ffn_dim"], 64),
    **dict.fromkeys(["ffn_hidden_size", "dff", "n_inner", "moe_intermediate_size", "dim_ff"], 64),
    **dict.fromkeys(["shared_expert_intermediate_size", "shared_intermediate_size", "intermediate_size_mlp"], 64),
    **dict.fromkeys(["max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "seq_length"], CONTEXT),
    **dict.fromkeys(["max_target_positions", "context_length", "max_sequence_length"], CONTEXT),
    **dict.fromkeys(["vocab_size", "vocab_size_per_layer_input"], VOCABULARY),
    **dict.fromkeys(["num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"], 4),
    **dict.fromkeys(["num_experts_per_tok", "top_k_experts", "moe_k", "moe_topk", "num_experts_per_token"], 2),
    **dict.fromkeys(["n_group", "topk_group", "num_expert_group", "mamba_n_groups", "n_groups"], 1),
    **dict.fromkeys(["q_lora_rank", "kv_lora_rank", "o_lora_rank"], 16),
    **dict.fromkeys(["qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim", "index_head_dim"], 8),
    **dict.fromkeys(
        ["state_size", "mamba_d_state", "ssm_state_size", "linear_key_head_dim", "linear_value_head_dim"], 8
    ),
    "linear_head_dim": 8,
    **dict.fromkeys(["linear_num_key_heads", "linear_num_value_heads", "linear_num_heads"], 2),
    **dict.fromkeys(["mamba_n_heads", "mamba_num_heads"], 8),
    **dict.fromkeys(["mamba_d_head", "mamba_head_dim", "mamba_headdim"], 8),
    **dict.fromkeys(["sliding_window", "attention_window_size", "window_size", "local_attention"], 8),
    **dict.fromkeys(["index_topk", "mamba_chunk_size", "chunk_size"], 16),
    **dict.fromkeys(["bos_token_id", "eos_token_id", "forced_eos_token_id"], None),
    **dict.fromkeys(["initializer_range", "init_std", "init_method_std"], 0.5),
    "n_shared_experts": 1,
    "first_k_dense_replace": 1,
    "hidden_size_per_layer_input": 16,
    "num_kv_shared_layers": 0,
    "tie_word_embeddings": False,
}
_BEGINS = {"bos_token_id": 0}
_HYBRID = {"num_hidden_layers": 4}
_LINEAR = _HYBRID | {"layer_types": ["linear_attention", "full_attention"] * 2}
"""Of four layers by default none attends to the text."""
_MORE: dict[str, dict[str, Any]] = {
    "bailing_hybrid": _LINEAR,
    "bamba": _HYBRID | {"attn_layer_indices": [1]},
    "jamba": _HYBRID | {"attn_layer_period": 2, "attn_layer_offset": 1},
    "kimi_linear": _LINEAR,
    "lfm3": _HYBRID,
    "qwen3_5_moe_text": _HYBRID,
    "qwen3_5_text": _HYBRID,
    "qwen3_next": _HYBRID,
    "qwen4_exp_text": _HYBRID,
    "recurrent_gemma": {"num_hidden_layers": 3},
    "granitemoehybrid": {"layer_types": ["mamba", "attention"]},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"]},
    "cohere_compass_text": {"num_hidden_layers": 4},
    "codegen": {"rotary_dim": 4},
    "gptj": {"rotary_dim": 4},
    "inkling2_text": {"unpadded_vocab_size": VOCABULARY},
    "inkling2_loop_text": {"unpadded_vocab_size": VOCABULARY},
    "reformer": {"is_decoder": True, "axial_pos_embds": False},
    "zamba": {"layers_block_type": ["mamba", "hybrid"]},
    "zamba2": {"layers_block_type": ["mamba", "hybrid"]},
    "xmod": {"languages": ["en_XX"], "default_language": "en_XX"},
    "cwm": _BEGINS,
    "modernbert-decoder": _BEGINS | {"eos_token_id": 0, "sep_token_id": 0, "cls_token_id": 0},
    "falcon": {"head_dim": ...},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "mamba2": {"num_heads": 8, "expand": 2},
    "prophetnet": {"num_hidden_layers": ..., "num_layers": ...},
    "xlnet": {"max_position_embeddings": ...},
    "xlstm": {"v_head_dim": ...},
}
"""Fields of a family alone; ... leaves one as it usually is."""


def names() -> list[str]:
    """The `model_type`s."""
    made = {config.model_type for config in MODEL_FOR_CAUSAL_LM_MAPPING}
    return sorted(name for name in CONFIG_MAPPING if name in made)


def config(name: str) -> PreTrainedConfig:
    """A small configuration of a family."""
    return _small(CONFIG_MAPPING[name], _MORE.get(name, {}))


def _small(kind: type[PreTrainedConfig], more: Mapping[str, Any]) -> PreTrainedConfig:
    usual = kind().to_dict()
    # Where keys are made from a latent, each head has its own.
    sizes = _SIZES | ({"num_key_value_heads": 4} if "qk_rope_head_dim" in usual else {})
    fields = {name: value for name, value in (sizes | dict(more)).items() if name in usual and value is not ...}
    fields |= {name: value for name, value in more.items() if value is not ...}
    fields["pad_token_id"] = 0
    for name, part in kind.sub_configs.items():
        if isinstance(usual.get(name), dict) and name not in more:
            fields[name] = (
                _small(CONFIG_MAPPING[usual[name]["model_type"]], _MORE.get(usual[name]["model_type"], {}))
                if "model_type" in usual[name] and usual[name]["model_type"] in CONFIG_MAPPING
                else _small(part, {})
            )
    return kind(**fields)


def network(name: str) -> Any:
    """A random network of a family, with no token that ends a text."""
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config(name)).eval()
