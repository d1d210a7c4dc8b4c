"""A GGUF file's weights, unpacked, as transformers' own network: what a GPU computes, and what proves on a CPU.

Owns where that network goes and what it takes. Its weights are `decoding.engines.onnx.reference`'s.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig

from decoding.engines.onnx.reference import network_of_gguf
from decoding.models.catalogue import Entry
from decoding.models.devices import exact_products, place
from decoding.models.gguf import read_gguf
from decoding.models.gguf_facts import gguf_tokenizer
from decoding.models.loading import Loaded, describe
from decoding.models.sources import find_source, held_to_sums, revision_of
from decoding.models.spec_gguf import spec_of_gguf
from decoding.models.starter import Report


def load_gguf(entry: Entry, *, device: str, dtype: str, report: Report) -> Loaded:
    """See `decoding.models.loading.load_model`."""
    path = find_source(entry, report)
    spec = spec_of_gguf(read_gguf(path))
    placement = place(entry.name, spec.parameters, device=device, dtype=dtype)
    report(f"Loading {entry.name} …", None)
    with held_to_sums(entry, path):
        network, tokenizer = gguf_network(path), gguf_tokenizer(entry, path)
    exact_products()
    for weights in network.parameters():  # not the frequencies of the positions, which transformers keeps in float32
        weights.data = weights.data.to(getattr(torch, placement.dtype))
    network.to(placement.device)
    made = describe(network, tokenizer, model=entry.name, revision=revision_of(entry, path), why=placement.why)
    if spec.description == placement.dtype:
        return made
    packed = f"{spec.description.split()[0]} weights, computed in {placement.dtype}"
    return replace(made, info=replace(made.info, engine=f"{made.info.engine}, {packed}"))


@torch.no_grad()
def gguf_network(path: Path) -> Any:
    """The network in float32. Raises ModelError for a file that is damaged, or of a family that is not known here."""
    file = read_gguf(path)
    spec = spec_of_gguf(file)
    network = network_of_gguf(file, spec).eval()
    ends: Any = sorted(spec.end_ids) or None
    network.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        bos_token_id=spec.beginning_id, eos_token_id=ends
    )
    return network
