"""Reads a model's spec from its config.json and generation_config.json, without transformers.

Owns the fields of each family's configuration and the values for which a graph can be written. An unknown field with a
value refuses the graph, and transformers computes the model. Knows no weights.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from decoding.models.config_reader import Config, rope, rope_of
from decoding.models.json_files import read_json
from decoding.models.spec import MAX_CONTEXT, MAX_HEAD_WIDTH, ModelSpec, NoGraphError, row_of


def spec_of_config(folder: Path, stored: str) -> ModelSpec:
    """The spec of a folder's model, whose weights are `stored` as float32, bfloat16 or float16. Raises NoGraphError for
    a model for which no graph can be written.
    """
    try:
        parsed = read_json(folder / "config.json")
    except (OSError, ValueError) as error:
        raise NoGraphError("its config.json cannot be read") from error
    if not isinstance(parsed, dict):
        raise NoGraphError("its config.json is no object")
    config = Config(parsed)
    family = config.get("model_type")
    if not isinstance(family, str) or family not in _FAMILIES:
        raise NoGraphError(f"no graph is written for the family {str(family)[:40]}")
    name, read, begins, ends = _FAMILIES[family]
    if (architectures := parsed.get("architectures")) and architectures != [name]:
        raise NoGraphError(f"it is no {name}")
    config.require(is_causal=True)
    facts = read(config) | {"vocabulary_size": config.count("vocab_size")}
    facts["context_length"] = min(facts["context_length"], MAX_CONTEXT)
    config.check_no_unknown_fields()
    description = "float32" if stored == "float32" else f"{stored} weights, computed in float32"
    return ModelSpec(
        **facts,
        end_ids=_end_ids(folder, parsed, default=ends, rows=facts["vocabulary_size"]),
        beginning_id=row_of(parsed.get("bos_token_id", begins), rows=facts["vocabulary_size"]),
        stored=stored,
        description=description,
    )


def _end_ids(folder: Path, parsed: dict[str, Any], *, default: int | None, rows: int) -> frozenset[int]:
    """What generation_config.json says, where there is one."""
    settings = {"eos_token_id": default} | parsed
    if (path := folder / "generation_config.json").exists():
        try:
            settings = read_json(path)
        except (OSError, ValueError) as error:
            raise NoGraphError("its generation_config.json cannot be read") from error
    if not isinstance(settings, dict):
        raise NoGraphError("its generation_config.json is no object")
    found = settings.get("eos_token_id")
    found = found if isinstance(found, list) else [] if found is None else [found]
    if not all(type(one) is int for one in found):
        raise NoGraphError("its eos_token_id is no number")
    return frozenset(one for one in found if row_of(one, rows=rows) is not None)


# Families


def _common(config: Config, *, shares_keys: bool = True) -> dict[str, Any]:
    """The fields that all relatives of Llama share. With `shares_keys` the number of key heads is required."""
    width, heads, layers = (config.count(f) for f in ("hidden_size", "num_attention_heads", "num_hidden_layers"))
    kv_heads = config.count("num_key_value_heads", None if shares_keys else heads)
    head_width = _head_width(config.count("head_dim", width // heads))
    if heads % kv_heads:
        raise NoGraphError(f"its {heads} heads do not share {kv_heads} of keys")
    return {
        "layers": layers,
        "width": width,
        "heads": heads,
        "kv_heads": kv_heads,
        "head_width": head_width,
        "mlp_width": config.count("intermediate_size"),
        "context_length": config.count("max_position_embeddings"),
        "norm_epsilon": config.positive("rms_norm_eps", 1e-6),
        "attention_scale": head_width**-0.5,
        "rope_of_layer": (0,) * layers,
    }


def _head_width(found: int) -> int:
    if not 1 <= found <= MAX_HEAD_WIDTH:
        raise NoGraphError(f"its heads have a width of {found}")
    return found


def _windows(config: Config, layers: int, window: int, default: list[str]) -> tuple[int, ...]:
    kinds = config.get("layer_types", default)
    if not isinstance(kinds, list) or len(kinds) != layers or set(kinds) - {"sliding_attention", "full_attention"}:
        raise NoGraphError("its layer_types are not known here")
    found = tuple(window if kind == "sliding_attention" else 0 for kind in kinds)
    if "sliding_attention" in kinds and not window:
        raise NoGraphError("it has windows of no length")
    return found


def _llama(config: Config) -> dict[str, Any]:
    return _like_llama(config, 10_000.0)


def _like_llama(config: Config, base: float | None = None) -> dict[str, Any]:
    """Llama and its relatives. Only Llama may leave out the base of its rotary embedding."""
    config.require(hidden_act="silu")
    facts = _common(config, shares_keys=not base) | {"family": "llama", "activation": "silu"}
    bias = config.flag("attention_bias", False)
    mlp_bias, tied = config.flag("mlp_bias", False), config.flag("tie_word_embeddings", False)
    ropes = (rope_of(config, facts["head_width"], base),)
    return facts | {"qkv_bias": bias, "output_bias": bias, "mlp_bias": mlp_bias, "tied_head": tied, "ropes": ropes}


def _mistral(config: Config) -> dict[str, Any]:
    config.require(attention_bias=False, mlp_bias=False)
    facts = _like_llama(config)
    window = config.count("sliding_window") if config.get("sliding_window") else 0
    return facts | {"windows": (window,) * facts["layers"] if window else ()}


def _qwen2(config: Config) -> dict[str, Any]:
    config.require(attention_bias=False, mlp_bias=False)
    facts = _like_llama(config)
    return facts | {"qkv_bias": True, "windows": _qwen_windows(config, facts["layers"])}


def _qwen3(config: Config) -> dict[str, Any]:
    config.require(mlp_bias=False)
    config.count("head_dim")  # required: the default is 128, whatever the width
    facts = _like_llama(config)
    return facts | {"head_norms": True, "windows": _qwen_windows(config, facts["layers"])}


def _qwen_windows(config: Config, layers: int) -> tuple[int, ...]:
    is_on, width = config.flag("use_sliding_window", False), config.get("sliding_window")
    window = config.count("sliding_window") if is_on and width else 0
    first, _ = config.get("max_window_layers", 28), config.get("layer_types")
    default = ["sliding_attention" if window and n >= first else "full_attention" for n in range(layers)]
    return _windows(config, layers, window, default) if window else ()


def _gemma3(config: Config) -> dict[str, Any]:
    config.require(attention_bias=False, final_logit_softcapping=None, attn_logit_softcapping=None)
    config.require(use_bidirectional_attention=False)
    config.count("head_dim")
    facts = _common(config) | {"family": "gemma3", "activation": config.activation("hidden_activation", "gelu_tanh")}
    layers, pattern = facts["layers"], config.get("sliding_window_pattern", config.get("_sliding_window_pattern", 6))
    if type(pattern) is not int or pattern < 1:
        raise NoGraphError("its pattern of windows is not known here")
    default = ["full_attention" if (n + 1) % pattern == 0 else "sliding_attention" for n in range(layers)]
    windows = _windows(config, layers, config.count("sliding_window", 4096), default)
    base, local = config.positive("rope_theta", 1e6), config.positive("rope_local_base_freq", 1e4)
    both, scaling, width = config.get("rope_parameters"), config.get("rope_scaling"), facts["head_width"]
    if both and both.keys() - {"full_attention", "sliding_attention"}:
        raise NoGraphError("its rotary embeddings are not known here")
    parts = both or {"full_attention": scaling, "sliding_attention": None}
    ropes = (rope(parts.get("full_attention"), base, width), rope(parts.get("sliding_attention"), local, width))
    return facts | {
        "attention_scale": config.positive("query_pre_attn_scalar", 256) ** -0.5,
        "tied_head": config.flag("tie_word_embeddings", True),
        "ropes": ropes,
        "rope_of_layer": tuple(int(window > 0) for window in windows),
        "windows": windows,
        "head_norms": True,
        "embedding_scale": math.sqrt(facts["width"]),
    }


def _gpt2(config: Config) -> dict[str, Any]:
    config.require(scale_attn_weights=True, scale_attn_by_inverse_layer_idx=False, add_cross_attention=False)
    config.get("reorder_and_upcast_attn")  # another order of the same arithmetic
    width, heads, layers = (config.count(name) for name in ("n_embd", "n_head", "n_layer"))
    head_width = _head_width(width // heads)
    return {
        "family": "gpt2",
        "layers": layers,
        "width": width,
        "heads": heads,
        "kv_heads": heads,
        "head_width": head_width,
        "mlp_width": config.count("n_inner", 4 * width),
        "context_length": config.count("n_positions"),
        "norm_epsilon": config.positive("layer_norm_epsilon", 1e-5),
        "activation": config.activation("activation_function", "gelu_new"),
        "attention_scale": head_width**-0.5,
        "tied_head": config.flag("tie_word_embeddings", True),
        "qkv_bias": True,
        "output_bias": True,
        "mlp_bias": True,
    }


def _gpt_neox(config: Config) -> dict[str, Any]:
    width, heads, layers = (config.count(f) for f in ("hidden_size", "num_attention_heads", "num_hidden_layers"))
    head_width, bias = _head_width(width // heads), config.flag("attention_bias", True)
    base, partial = config.positive("rotary_emb_base", 10_000.0), config.positive("rotary_pct", 0.25)
    stated = config.get("rope_parameters") or config.get("rope_scaling") or {}
    return {
        "family": "gpt_neox",
        "layers": layers,
        "width": width,
        "heads": heads,
        "kv_heads": heads,
        "head_width": head_width,
        "mlp_width": config.count("intermediate_size"),
        "context_length": config.count("max_position_embeddings"),
        "norm_epsilon": config.positive("layer_norm_eps", 1e-5),
        "activation": config.activation("hidden_act", "gelu"),
        "attention_scale": head_width**-0.5,
        "tied_head": config.flag("tie_word_embeddings", False),
        "ropes": (rope({"partial_rotary_factor": partial} | stated, base, head_width),),
        "rope_of_layer": (0,) * layers,
        "qkv_bias": bias,
        "output_bias": bias,
        "mlp_bias": True,
        "parallel_residual": config.flag("use_parallel_residual", True),
    }


_FAMILIES: dict[str, tuple[str, Callable[[Config], dict[str, Any]], int | None, int | None]] = {
    "gpt2": ("GPT2LMHeadModel", _gpt2, 50256, 50256),
    "llama": ("LlamaForCausalLM", _llama, 1, 2),
    "mistral": ("MistralForCausalLM", _mistral, 1, 2),
    "qwen2": ("Qwen2ForCausalLM", _qwen2, None, None),
    "qwen3": ("Qwen3ForCausalLM", _qwen3, None, None),
    "gpt_neox": ("GPTNeoXForCausalLM", _gpt_neox, 0, 2),
    "gemma3_text": ("Gemma3ForCausalLM", _gemma3, 2, 1),
}
"""By `model_type`: the architecture, its facts, and the ids that begin and end a text where the file has no such
field.
"""
