"""Computes the figures of a proof with transformers' network; a program of its own, because it imports torch.

    python -m decoding.engines.onnx.graph_proof_figures SOURCE OUT

Owns the way from a GGUF file's weights to transformers' network of its family. Knows no graph.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

from decoding.engines.onnx.graph_proof import LAST, texts, tops_of
from decoding.engines.onnx.model_graph import ARCHITECTURES, check_all_read
from decoding.engines.onnx.weight_files import GgufWeights, stored_name
from decoding.engines.onnx.weights import BlockMatrix
from decoding.models.gguf import GgufFile, read_gguf
from decoding.models.spec import ModelSpec
from decoding.models.spec_config import spec_of_config
from decoding.models.spec_gguf import spec_of_gguf


def network_of_gguf(file: GgufFile, spec: ModelSpec) -> Any:
    """Transformers' network over a file's weights as float32."""
    architecture = file.metadata["general.architecture"]
    networks: Any = AutoModelForCausalLM
    model = networks.from_config(_config(architecture, spec)).float()
    module = ARCHITECTURES[spec.family]
    interleaved = architecture in getattr(module, "GGUF_INTERLEAVED", ())
    weights = GgufWeights(file, spec, module.GGUF, is_interleaved=interleaved)
    state = model.state_dict()
    for name in module.SAFETENSORS:
        if name == "head" and spec.tied_head:
            continue
        for layer in range(spec.layers) if "{layer}" in module.SAFETENSORS[name] else [None]:
            for part in (name,) if name == "head" else (name, f"{name}.bias"):
                stored = stored_name(module.SAFETENSORS, part, layer) if name != "head" else "lm_head.weight"
                if stored in state:
                    state[stored].copy_(_values(weights, spec, part, layer, module))
    check_all_read(weights, spec, file.path.name)
    for rope in (one for one in spec.ropes if one.divisors):
        model.model.rotary_emb.inv_freq /= torch.tensor(rope.divisors)
    return model


def _values(weights: GgufWeights, spec: ModelSpec, name: str, layer: int | None, module: Any) -> torch.Tensor:
    if "norm" in name or name.endswith(".bias"):
        values = torch.from_numpy(weights.vector(name, layer))
        values = values - 1 if getattr(module, "NORMS_LESS_ONE", False) and "norm" in name else values
    else:
        matrix = weights.matrix(name, layer)
        values = torch.from_numpy(matrix.unpacked() if isinstance(matrix, BlockMatrix) else matrix.values)
        is_turned = getattr(module, "IS_TRANSPOSED", False) and "embedding" not in name and name != "head"
        values = values.T if is_turned else values
    if spec.family == "gpt_neox" and name.startswith("qkv"):  # head by head
        shape = values.shape
        values = values.reshape(3, spec.heads, -1, *shape[1:]).transpose(0, 1).reshape(shape)
    return values


def _config(architecture: str, spec: ModelSpec) -> Any:
    """The facts of a GGUF file as transformers' configuration."""
    said: dict[str, Any] = {"vocab_size": spec.vocabulary_size, "tie_word_embeddings": spec.tied_head}
    said |= {"bos_token_id": spec.beginning_id, "eos_token_id": sorted(spec.end_ids) or None}  # else the family's own
    if spec.family == "gpt2":
        said |= {"n_embd": spec.width, "n_layer": spec.layers, "n_head": spec.heads, "n_inner": spec.mlp_width}
        said |= {"n_positions": spec.context_length, "layer_norm_epsilon": spec.norm_epsilon}
        return AutoConfig.for_model("gpt2", **said)
    said |= {"hidden_size": spec.width, "num_hidden_layers": spec.layers, "num_attention_heads": spec.heads}
    said |= {"intermediate_size": spec.mlp_width, "max_position_embeddings": spec.context_length}
    ropes = [_rope(rope.base, rope.linear_factor, rope.width / spec.head_width) for rope in spec.ropes]
    if spec.family == "gpt_neox":
        said |= {"layer_norm_eps": spec.norm_epsilon, "use_parallel_residual": spec.parallel_residual}
        return AutoConfig.for_model("gpt_neox", **said, attention_bias=spec.qkv_bias, rope_parameters=ropes[0])
    said |= {"num_key_value_heads": spec.kv_heads, "head_dim": spec.head_width, "rms_norm_eps": spec.norm_epsilon}
    if spec.family == "gemma3":
        kinds = ["sliding_attention" if window else "full_attention" for window in spec.windows]
        said |= {"layer_types": kinds, "sliding_window": max(spec.windows) or 4096}
        said |= {"query_pre_attn_scalar": round(spec.attention_scale**-2)}
        rope = {"full_attention": ropes[0], "sliding_attention": ropes[1]}
        return AutoConfig.for_model("gemma3_text", **said, rope_parameters=rope)
    if spec.windows:
        said |= {"sliding_window": spec.windows[0], "use_sliding_window": True, "max_window_layers": 0}
        architecture = "mistral" if architecture == "llama" else architecture
    bias = {"attention_bias": spec.qkv_bias} if architecture in ("llama", "qwen3") else {}
    return AutoConfig.for_model(architecture, **said, **bias, rope_parameters=ropes[0])


def _rope(base: float, factor: float, partial: float) -> dict[str, Any]:
    stretched = {"rope_type": "linear", "factor": factor} if factor != 1 else {"rope_type": "default"}
    return stretched | {"rope_theta": base} | ({"partial_rotary_factor": partial} if partial != 1 else {})


@torch.inference_mode()
def main(source: Path, out: Path) -> None:
    if source.is_dir():
        spec = spec_of_config(source, "float32")
        options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False, "use_safetensors": True}
        # Without it, sampling settings that greedy decoding never reads could keep a network from being loaded.
        options["generation_config"] = GenerationConfig()  # type: ignore[no-untyped-call]
        model: Any = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32, **options)
    else:
        file = read_gguf(source)
        spec = spec_of_gguf(file)
        model = network_of_gguf(file, spec)
    model.eval()
    said = []
    for ids in texts(spec):
        logits = model(torch.tensor([ids]), use_cache=False).logits[0, -LAST:].double()
        said.append({"ids": ids, "following": [tops_of(row) for row in logits.softmax(-1).numpy()]})
    out.write_text(json.dumps(said), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
