"""Loads transformers' network of a model that another library computes.

Owns the choice of format. `decoding.engines.network_on_demand` decides how long the network is kept.
"""

from pathlib import Path
from typing import Any

from decoding.engines.torch.gguf_network import gguf_network
from decoding.messages import Message
from decoding.models.catalogue import Entry, memory_needed
from decoding.models.devices import Placement
from decoding.models.gguf import read_gguf
from decoding.models.loading import load_network
from decoding.models.resources import check_memory, free_memory
from decoding.models.safetensors import count_parameters
from decoding.models.spec_gguf import spec_of_gguf


def load_float32_network(entry: Entry, source: Path) -> Any:
    """The network in float32, on the CPU. Raises RoomError if it does not fit, ModelError for damaged files."""
    file = None if source.is_dir() else read_gguf(source)
    parameters = spec_of_gguf(file).parameters if file else count_parameters(source)
    check_memory(
        entry.name,
        memory_needed(parameters, "float32"),
        free_memory(),
        where=Message("room.memory.cpu"),
        dtype="float32",
    )
    if file:
        return gguf_network(file)
    return load_network(entry.name, source, Placement("cpu", "float32", ""))[0]
