"""Models that transformers computes in this process, made ready to decode. Owns the way from a loaded network to an
engine.
"""

from dataclasses import replace

from decoding.engines.local import LocalEngine, ModelFacts
from decoding.engines.torch.gguf_network import load_gguf
from decoding.engines.torch.network import TorchNetwork
from decoding.models.catalogue import Entry
from decoding.models.loading import Loaded, load_model
from decoding.models.sources import entry_of, holds_gguf
from decoding.models.starter import Report, silent

__all__ = ["LocalEngine", "engine_of", "load"]


def load(
    model: str | Entry, *, device: str = "auto", dtype: str = "auto", report: Report = silent, why: str = ""
) -> LocalEngine:
    """Load a model for torch; see `decoding.engines.loading.load`. `why` says why torch computes it."""
    entry = model if isinstance(model, Entry) else entry_of(model)
    loading = load_gguf if holds_gguf(entry) else load_model
    loaded = loading(entry, device=device, dtype=dtype, report=report)
    if why:
        loaded = replace(loaded, info=replace(loaded.info, why=f"{loaded.info.why}; {why}"))
    return engine_of(loaded)


def engine_of(loaded: Loaded) -> LocalEngine:
    """The engine over a network that is in memory."""
    facts = ModelFacts(
        info=loaded.info,
        vocabulary=loaded.vocabulary,
        vocabulary_size=loaded.vocabulary_size,
        context_length=loaded.context_length,
        end_ids=loaded.end_ids,
        beginning_id=loaded.beginning_id,
    )
    return LocalEngine(facts, TorchNetwork(loaded.network), reference=lambda: loaded.network)
