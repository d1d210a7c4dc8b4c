"""GGUF files of tiny networks, written by the gguf package, in any mix of block types."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from tokenizers import pre_tokenizers

UNQUANTIZED = ("Q4_K", "Q5_K", "Q6_K")  # which the gguf package reads and does not write

ARCHITECTURES = {"llama": "LLAMA", "mistral": "LLAMA", "qwen2": "QWEN2", "qwen3": "QWEN3"} | {
    "gpt2": "GPT2",
    "gpt_neox": "GPTNEOX",
    "gemma3_text": "GEMMA3",
}


def quantized(values: Any, kind: str, seed: int) -> tuple[Any, Any]:
    """A matrix as bytes of a block type, and the float32 that they stand for."""
    theirs = gguf.GGMLQuantizationType[kind]
    if kind in UNQUANTIZED:
        raw = drawn(values.shape, kind, float(np.abs(values).mean()), seed)
    else:
        raw = gguf.quantize(np.ascontiguousarray(values, np.float32), theirs)
    return raw, gguf.dequantize(raw, theirs).astype(np.float32).reshape(values.shape)


def drawn(shape: tuple[int, ...], kind: str, spread: float, seed: int) -> Any:
    """Bytes of a K type at random, with scales that keep the weights as wide as they were."""
    block, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
    blocks = int(np.prod(shape)) // block
    raw = np.random.default_rng(seed).integers(0, 256, (blocks, size), np.uint8)
    scale, minimum = (np.array([one], np.float16).view(np.uint8) for one in _scales(kind, spread))
    if kind == "Q6_K":
        raw[:, 208:] = scale
    else:
        raw[:, :2], raw[:, 2:4] = scale, minimum
    return raw.reshape(shape[0], -1)


def _scales(kind: str, spread: float) -> tuple[float, float]:
    if kind == "Q6_K":  # scales are signed bytes, numbers −32 to 31
        return spread / 1000, 0.0
    most = {"Q4_K": 15, "Q5_K": 31}[kind]  # scales and minima are 0 to 63
    return spread / (16 * most), spread / 32


def write(path: Path, model: Any, kinds: Sequence[str], *, skip: str = "", extra: Any = None, **facts: Any) -> Path:
    """Write a network's weights as GGUF, its matrices in turn as each of `kinds`, and give the network what was
    written, so that it is the reference: a bias that is not written is zero there. Tensors whose names hold what `skip`
    matches are not written. `facts` are added to the metadata or take their place, `extra` are tensors.
    """
    config, architecture = model.config, ARCHITECTURES[model.config.model_type]
    arch = gguf.MODEL_ARCH[architecture]
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[arch])
    named = {"tokenizer.ggml.tokens": [f"t{n}" for n in range(config.vocab_size)]}
    for name, value in (named | _facts(config, gguf.MODEL_ARCH_NAMES[arch]) | facts).items():
        add = {int: writer.add_uint32, float: writer.add_float32, bool: writer.add_bool, str: writer.add_string}
        (writer.add_array if isinstance(value, list) else add[type(value)])(name, value)
    names = gguf.get_tensor_name_map(arch, config.num_hidden_layers)
    state = dict(model.state_dict())
    if config.tie_word_embeddings:
        for head in ("lm_head.weight", "embed_out.weight"):
            state.pop(head, None)
    count = 0
    for name, weights in sorted(state.items()):
        theirs = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if theirs is None:
            continue
        if skip and re.search(skip, theirs):
            weights.zero_()
            continue
        values = _to_gguf(model, name, weights.float().numpy())
        if values.ndim == 1:
            writer.add_tensor(theirs, values)
            continue
        kind = kinds[count % len(kinds)]
        raw, back = quantized(values, kind, count)
        count += 1
        writer.add_tensor(theirs, raw, raw_dtype=gguf.GGMLQuantizationType[kind])
        with torch.no_grad():
            weights.copy_(torch.from_numpy(_from_gguf(model, name, back).copy()))
    for name, values in (extra or {}).items():
        writer.add_tensor(name, np.asarray(values, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def byte_tokenizer(vocabulary_size: int) -> dict[str, Any]:
    """A tokenizer as a GGUF says it: the 256 bytes, a token each, two of them joined once, and tokens that no text is
    read as.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    unused = [f"<unused{n}>" for n in range(vocabulary_size - len(alphabet) - 1)]
    said = {"model": "gpt2", "pre": "gpt-2", "tokens": [*alphabet, "th", *unused], "merges": ["t h"]}
    said |= {"token_type": [1] * (len(alphabet) + 1) + [3] * len(unused), "eos_token_id": vocabulary_size - 1}
    return {f"tokenizer.ggml.{name}": value for name, value in said.items()}


def _facts(config: Any, arch: str) -> dict[str, Any]:
    heads, layers, width = config.num_attention_heads, config.num_hidden_layers, config.hidden_size
    epsilon = getattr(config, "rms_norm_eps", None)
    found: dict[str, Any] = {
        "block_count": layers,
        "embedding_length": width,
        "context_length": config.max_position_embeddings,
        "feed_forward_length": getattr(config, "intermediate_size", None) or 4 * width,
        "attention.head_count": heads,
    }
    if epsilon:
        found |= {"attention.layer_norm_rms_epsilon": epsilon, "attention.head_count_kv": config.num_key_value_heads}
        found |= {"attention.key_length": config.head_dim, "attention.value_length": config.head_dim}
    else:
        found["attention.layer_norm_epsilon"] = getattr(config, "layer_norm_eps", 0) or config.layer_norm_epsilon
    ropes = getattr(config, "rope_parameters", None) or {}
    found["rope.freq_base"] = float((ropes.get("full_attention") or ropes).get("rope_theta", 10_000.0))
    if arch == "gptneox":
        head_width = width // heads
        found["rope.dimension_count"] = int(head_width * ropes["partial_rotary_factor"])
        found["use_parallel_residual"] = config.use_parallel_residual
    if window := getattr(config, "sliding_window", None):
        found["attention.sliding_window"] = window
    return {f"{arch}.{name}": value for name, value in found.items()}


def _to_gguf(model: Any, name: str, values: Any) -> Any:
    """What the converters of llama.cpp do to a weight."""
    config = model.config
    if config.model_type in ("llama", "mistral") and (heads := _rotated(config, name)):
        return values.reshape(heads, 2, -1, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)
    if config.model_type == "gpt2" and values.ndim == 2 and ".h." in name:
        return np.ascontiguousarray(values.T)
    if "query_key_value" in name:
        return values.reshape(config.num_attention_heads, 3, -1, *values.shape[1:]).swapaxes(0, 1).reshape(values.shape)
    if config.model_type == "gemma3_text" and "norm" in name:
        return values + 1
    return values


def _from_gguf(model: Any, name: str, values: Any) -> Any:
    config = model.config
    if config.model_type in ("llama", "mistral") and (heads := _rotated(config, name)):
        return values.reshape(heads, -1, 2, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)
    if config.model_type == "gpt2" and ".h." in name:
        return values.T
    if "query_key_value" in name:
        return values.reshape(3, config.num_attention_heads, -1, *values.shape[1:]).swapaxes(0, 1).reshape(values.shape)
    return values


def _rotated(config: Any, name: str) -> int:
    if "q_proj" in name:
        return int(config.num_attention_heads)
    return int(config.num_key_value_heads) if "k_proj" in name else 0
