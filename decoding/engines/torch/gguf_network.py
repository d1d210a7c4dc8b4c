"""A GGUF file's weights, unpacked to float32, as transformers' own network: the reference of its graph, and what a GPU
computes.

Owns how the names and layouts of the file become those of transformers. The shapes are `decoding.models.spec`'s, the
names the architectures'.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig, GenerationConfig, PreTrainedModel
from transformers.utils import logging

from decoding.engines.onnx.building import ARCHITECTURES
from decoding.engines.onnx.sources import GgufWeights
from decoding.engines.onnx.weights import FloatMatrix
from decoding.engines.torch.gguf_config import config_of, parameters_of
from decoding.errors import ModelError
from decoding.models.catalogue import Entry
from decoding.models.devices import exact_products, place
from decoding.models.gguf import read_gguf
from decoding.models.gguf_blocks import Floats
from decoding.models.gguf_facts import gguf_tokenizer
from decoding.models.loading import Loaded, describe
from decoding.models.sources import find_source, held_to_sums, revision_of
from decoding.models.spec import ModelSpec
from decoding.models.spec_gguf import spec_of_gguf
from decoding.models.starter import Report

NO_REFERENCE = (
    "{file} has weights that transformers' network of its family has not, or lacks some. Choose another file."
)


def load_gguf(entry: Entry, *, device: str, dtype: str, report: Report) -> Loaded:
    """See `decoding.models.loading.load_model`."""
    path = find_source(entry, report)
    spec = spec_of_gguf(read_gguf(path))
    placement = place(entry.name, entry.parameters or parameters_of(spec), device=device, dtype=dtype)
    report(f"Loading {entry.name} …", None)
    with held_to_sums(entry, path):
        network, tokenizer = gguf_network(path), gguf_tokenizer(entry, path)
    exact_products()
    moved: Any = network.to  # transformers' own wrapper loses its types
    moved(device=placement.device, dtype=getattr(torch, placement.dtype))
    return describe(network, tokenizer, model=entry.name, revision=revision_of(entry, path), why=placement.why)


def gguf_network(path: Path) -> PreTrainedModel:
    """The network in float32. Raises ModelError for a file that is damaged, or of a family that is not known here."""
    file = read_gguf(path)
    spec = spec_of_gguf(file)
    module: Any = ARCHITECTURES[spec.family]
    is_interleaved = file.metadata["general.architecture"] in getattr(module, "GGUF_INTERLEAVED", ())
    weights = GgufWeights(file, spec, module.GGUF, is_interleaved=is_interleaved)
    config = AutoConfig.for_model(**config_of(spec))
    state = {name: torch.from_numpy(values) for name, values in _weights(weights, spec, module)}
    state |= {module.SAFETENSORS["head"]: state[module.SAFETENSORS["embedding"]]} if spec.tied_head else {}
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    made: Any = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    network, found = made.from_pretrained(None, config=config, state_dict=state, output_loading_info=True)
    if found["missing_keys"] or found["unexpected_keys"]:  # transformers fills what is missing with random numbers
        raise ModelError(NO_REFERENCE.format(file=path.name))
    ends: Any = sorted(spec.end_ids) or None
    network.generation_config = GenerationConfig(bos_token_id=spec.beginning_id, eos_token_id=ends)  # type: ignore[no-untyped-call]
    return network.eval()  # type: ignore[no-any-return]


def _weights(weights: GgufWeights, spec: ModelSpec, module: Any) -> Iterator[tuple[str, Floats]]:
    """Each weight under transformers' name and in its layout."""
    for name, template in module.SAFETENSORS.items():
        if name not in module.GGUF or (name == "head" and spec.tied_head):
            continue
        for layer in range(spec.layers) if "{layer}" in template else [None]:
            stored = template.format(layer=layer)
            if weights.has(name, layer):
                yield stored, _laid_out(weights, name, layer, spec, module)
            if weights.has(f"{name}.bias", layer):
                bias = weights.vector(f"{name}.bias", layer)
                yield stored.removesuffix("weight") + "bias", _by_heads(bias, name, spec)


def _laid_out(weights: GgufWeights, name: str, layer: int | None, spec: ModelSpec, module: Any) -> Floats:
    if name.endswith("norm"):
        return weights.vector(name, layer) - np.float32(getattr(module, "NORMS_LESS_ONE", False))
    matrix = weights.matrix(name, layer)
    floats = matrix if isinstance(matrix, FloatMatrix) else matrix.unpacked()
    assert floats.values is not None  # only those of safetensors lie elsewhere
    values = _by_heads(floats.values, name, spec)
    by_inputs = getattr(module, "BY_INPUTS", False) and name not in ("embedding", "position_embedding", "head")
    return np.ascontiguousarray(values.T if by_inputs else values)


def _by_heads(values: Floats, name: str, spec: ModelSpec) -> Floats:
    """GPT-NeoX has queries, keys and values of each head beside each other, and GGUF one after the other."""
    if spec.family != "gpt_neox" or name != "qkv":
        return values
    heads = values.reshape(3, spec.heads, spec.head_width, *values.shape[1:])
    return np.ascontiguousarray(heads.swapaxes(0, 1)).reshape(values.shape)
