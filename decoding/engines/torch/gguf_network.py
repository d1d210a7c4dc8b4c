"""Loads a GGUF file as transformers' network, for a GPU, and for proofs on a CPU.

Owns the device, the dtype and the memory of that network. `decoding.engines.onnx.transformers_network` converts the
weights.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig

from decoding.engines.onnx.transformers_network import network_of_gguf
from decoding.messages import Message
from decoding.models.catalogue import Entry
from decoding.models.devices import disable_tf32, place
from decoding.models.gguf import read_gguf
from decoding.models.gguf_file_tokenizer import gguf_tokenizer
from decoding.models.gguf_head import check_head
from decoding.models.loading import LoadedModel, describe_model
from decoding.models.model_paths import find_source, revision_of, verifying_source
from decoding.models.spec_gguf import spec_of_gguf
from decoding.models.starter import Report


def load_gguf(entry: Entry, *, device: str, dtype: str, report: Report) -> LoadedModel:
    """Load a GGUF file's model; see `decoding.models.loading.load_model`."""

    def check_fits(_half: Path, _parameters: int) -> None:
        place(entry.name, check_head(entry, report).parameters, device=device, dtype=dtype)

    path = find_source(entry, report, check_fits)
    spec = spec_of_gguf(read_gguf(path))
    placement = place(entry.name, spec.parameters, device=device, dtype=dtype)
    report(Message("model.loading", model=entry.name), None)
    with verifying_source(entry, path):
        network, tokenizer = gguf_network(path), gguf_tokenizer(entry, path)
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
def gguf_network(path: Path) -> Any:
    """The network of a GGUF file in float32. Raises ModelError for a damaged file, or a family that is not
    supported.
    """
    file = read_gguf(path)
    spec = spec_of_gguf(file)
    network = network_of_gguf(file, spec).eval()
    ends: Any = sorted(spec.end_ids) or None
    network.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        bos_token_id=spec.beginning_id, eos_token_id=ends
    )
    return network
