"""Loads a GGUF file as transformers' network, for a GPU, and for proofs on a CPU.

Owns the configuration of each family, where its weights go, and the device, dtype and memory of that network.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

from decoding.engines.onnx.model_graph import ARCHITECTURES, check_all_read
from decoding.engines.onnx.weight_files import GgufWeights, stored_name
from decoding.messages import Message
from decoding.models.catalogue import Entry
from decoding.models.devices import disable_tf32, place
from decoding.models.gguf import GgufFile, read_gguf
from decoding.models.gguf_blocks import Blocks
from decoding.models.gguf_file_tokenizer import gguf_tokenizer
from decoding.models.gguf_head import check_head
from decoding.models.loading import LoadedModel, describe_model
from decoding.models.model_paths import find_source, revision_of, verifying_source
from decoding.models.progress import Report
from decoding.models.spec import ModelSpec
from decoding.models.spec_gguf import spec_of_gguf


def load_gguf(entry: Entry, *, device: str, dtype: str, report: Report) -> LoadedModel:
    """Load a GGUF file's model; see `decoding.models.loading.load_model`."""

    def check_fits(_half: Path, _parameters: int) -> None:
        place(entry.name, check_head(entry, report).parameters, device=device, dtype=dtype)

    path = find_source(entry, report, check_fits)
    file = read_gguf(path)
    spec = spec_of_gguf(file)
    placement = place(entry.name, spec.parameters, device=device, dtype=dtype)
    report(Message("model.loading", model=entry.name), None)
    with verifying_source(entry, path):
        network, tokenizer = gguf_network(file), gguf_tokenizer(entry, path)
    disable_tf32()
    for weights in network.parameters():  # but not rotary frequencies, which stay in float32
        weights.data = weights.data.to(getattr(torch, placement.dtype))
    network.to(placement.device)
    made = describe_model(network, tokenizer, model=entry.name, revision=revision_of(entry, path), why=placement.why)
    if spec.description == placement.dtype:
        return made
    packed = Message("stored", stored=spec.description.partition(" weights")[0], dtype=placement.dtype)
    return replace(made, info=replace(made.info, engine=f"{made.info.engine}, {packed}"))


@torch.no_grad()
def gguf_network(file: GgufFile) -> Any:
    """The network of a GGUF file in float32. Raises ModelError for a file that is damaged, or whose family is not
    supported.
    """
    spec = spec_of_gguf(file)
    architecture = file.metadata["general.architecture"]
    networks: Any = AutoModelForCausalLM
    model = networks.from_config(_config(architecture, spec)).float()
    module = ARCHITECTURES[spec.family]
    weights = GgufWeights(file, spec)
    state = model.state_dict()
    for name in module.SAFETENSORS:
        if name == "head" and spec.tied_head:
            continue
        for layer in range(spec.layers) if "{layer}" in module.SAFETENSORS[name] else [None]:
            for part in (name,) if name == "head" else (name, f"{name}.bias"):
                stored = stored_name(module.SAFETENSORS, part, layer) if name != "head" else "lm_head.weight"
                if stored not in state:
                    continue
                if part != name and "norm" not in name and not spec.has_bias(name):
                    state[stored].zero_()  # where the family has a bias and the file has none
                else:
                    state[stored].copy_(_values(weights, spec, part, layer, module))
    check_all_read(weights, spec, file.path.name)
    if spec.ropes and spec.ropes[0].divisors:
        _scale_frequencies(model, spec.ropes[0].divisors)
    ends: Any = sorted(spec.end_ids) or None
    model.generation_config = GenerationConfig(bos_token_id=spec.beginning_id, eos_token_id=ends)  # type: ignore[no-untyped-call]
    return model.eval()


def _scale_frequencies(model: Any, divisors: tuple[float, ...]) -> None:
    """Gemma 3's sliding-window layers have frequencies of their own, which are not scaled."""
    names = ("rotary_emb.inv_freq", "rotary_emb.full_attention_inv_freq")
    found = [buffer for name, buffer in model.base_model.named_buffers() if name in names]
    if len(found) != 1:
        raise RuntimeError("the network has no rotary frequencies to scale, or several")
    found[0] /= torch.tensor(divisors)


def _values(weights: GgufWeights, spec: ModelSpec, name: str, layer: int | None, module: Any) -> torch.Tensor:
    if "norm" in name or name.endswith(".bias"):
        values = torch.from_numpy(weights.vector(name, layer))
        values = values - 1 if getattr(module, "NORMS_LESS_ONE", False) and "norm" in name else values
    else:
        matrix = weights.matrix(name, layer)
        values = torch.from_numpy(matrix.weights() if isinstance(matrix, Blocks) else matrix.values).flatten(1)
        is_turned = getattr(module, "IS_TRANSPOSED", False) and "embedding" not in name and name != "head"
        values = values.T if is_turned else values
    if spec.family == "gpt_neox" and name.startswith("qkv"):  # head by head
        shape = values.shape
        values = values.reshape(3, spec.heads, -1, *shape[1:]).transpose(0, 1).reshape(shape)
    return values


def _config(architecture: str, spec: ModelSpec) -> Any:
    """The facts of a GGUF file as transformers' configuration."""
    fields: dict[str, Any] = {"vocab_size": spec.vocabulary_size, "tie_word_embeddings": spec.tied_head}
    fields |= {"bos_token_id": spec.beginning_id, "eos_token_id": sorted(spec.end_ids) or None}  # else the family's own
    if spec.family == "gpt2":
        fields |= {"n_embd": spec.width, "n_layer": spec.layers, "n_head": spec.heads, "n_inner": spec.mlp_width}
        fields |= {"n_positions": spec.context_length, "layer_norm_epsilon": spec.norm_epsilon}
        return AutoConfig.for_model("gpt2", **fields)
    fields |= {"hidden_size": spec.width, "num_hidden_layers": spec.layers, "num_attention_heads": spec.heads}
    fields |= {"intermediate_size": spec.mlp_width, "max_position_embeddings": spec.context_length}
    ropes = [_rope(rope.base, rope.width / spec.head_width) for rope in spec.ropes]
    if spec.family == "gpt_neox":
        fields |= {"layer_norm_eps": spec.norm_epsilon, "use_parallel_residual": spec.parallel_residual}
        return AutoConfig.for_model(
            "gpt_neox", **fields, attention_bias=spec.qkv_bias or spec.output_bias, rope_parameters=ropes[0]
        )
    fields |= {"num_key_value_heads": spec.kv_heads, "head_dim": spec.head_width, "rms_norm_eps": spec.norm_epsilon}
    if spec.family == "gemma3":
        kinds = ["sliding_attention" if window else "full_attention" for window in spec.windows]
        fields |= {"layer_types": kinds, "sliding_window": max(spec.windows) or 4096}
        fields |= {"query_pre_attn_scalar": round(spec.attention_scale**-2)}
        rope = {"full_attention": ropes[0], "sliding_attention": ropes[1]}
        return AutoConfig.for_model("gemma3_text", **fields, rope_parameters=rope)
    if spec.windows:
        fields |= {"sliding_window": spec.windows[0], "use_sliding_window": True, "max_window_layers": 0}
        architecture = "mistral" if architecture == "llama" else architecture
    if architecture in ("llama", "qwen3"):
        fields |= {"attention_bias": spec.qkv_bias or spec.output_bias}
    if architecture == "llama":
        fields |= {"mlp_bias": spec.mlp_bias}
    return AutoConfig.for_model(architecture, **fields, rope_parameters=ropes[0])


def _rope(base: float, partial: float) -> dict[str, Any]:
    return {"rope_type": "default", "rope_theta": base} | ({"partial_rotary_factor": partial} if partial != 1 else {})
