"""Loads models that transformers computes in this process.

Owns the way from a loaded network to an engine. Knows no run and no page.
"""

from dataclasses import replace

from decoding.engines.local_engine import LocalEngine
from decoding.engines.model_facts import ModelFacts
from decoding.engines.network_protocol import Network
from decoding.engines.torch import cuda_graph_decoder
from decoding.engines.torch.cache_mode_proof import prove, unproved
from decoding.engines.torch.gguf_network import load_gguf
from decoding.engines.torch.network import TorchNetwork
from decoding.messages import Message
from decoding.models.catalogue import Entry
from decoding.models.devices import is_zero_gpu
from decoding.models.loading import LoadedModel, load_model
from decoding.models.model_paths import entry_of, holds_gguf
from decoding.models.progress import Report, no_report

__all__ = ["LocalEngine", "engine_of", "load"]


def load(
    model: str | Entry, *, device: str = "auto", dtype: str = "auto", report: Report = no_report, why: str = ""
) -> LocalEngine:
    """Load a model for torch; see `decoding.engines.loading.load`. `why` is the reason for torch, for the page's
    header.
    """
    entry = model if isinstance(model, Entry) else entry_of(model)
    loading = load_gguf if holds_gguf(entry) else load_model
    loaded = loading(entry, device=device, dtype=dtype, report=report)
    if why:
        loaded = replace(loaded, info=replace(loaded.info, why=Message("why", device=loaded.info.why, dtype=why)))
    return engine_of(loaded)


def engine_of(loaded: LoadedModel, *, graphs_on: str = cuda_graph_decoder.DEVICE) -> LocalEngine:
    """The engine over a loaded network, which is tried with a few ids. Steps are captured on devices of the type
    `graphs_on`. Raises ModelError for a network that is not causal.
    """
    is_here = not is_zero_gpu()  # ZeroGPU has no GPU yet: the first run tries the network
    proved = prove(loaded.network, model=loaded.info.id) if is_here else unproved(loaded.network)
    plain = TorchNetwork(proved.cached, model=loaded.info.id, is_proved=is_here)
    network: Network = plain
    ways, notes = [loaded.info.engine], [loaded.info.why, *proved.notes]
    if loaded.network.device.type == graphs_on and proved.cached.is_plain:
        network, why_not = cuda_graph_decoder.decoder_or_plain(loaded.network, plain)
        (notes if why_not else ways).append(why_not or cuda_graph_decoder.NAME)
    facts = ModelFacts(
        info=replace(loaded.info, engine=", ".join(ways), why="; ".join(filter(None, notes))),
        vocabulary=loaded.vocabulary,
        vocabulary_size=loaded.vocabulary_size,
        context_length=proved.context_length,
        end_ids=loaded.end_ids,
        beginning_id=loaded.beginning_id,
    )
    return LocalEngine(facts, network, reference=lambda: loaded.network)
