"""Sets up the model registry of a server: which models it offers, how each is loaded, and what it needs.

Owns the choice between a model in this process and one on a vLLM server. Knows no page and no command line. What
computes is imported only when a model is loaded.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from decoding.engines import Engine, is_server
from decoding.models.catalogue import Entry
from decoding.models.devices import is_zero_gpu
from decoding.models.resources import resident_bytes
from decoding.serving.memory_budget import MemoryBudget
from decoding.serving.model_registry import Loader, ModelRegistry, OfferLister, Report


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How models are computed: an engine ("auto", "torch" or a server's URL), a device and a dtype."""

    engine: str
    device: str
    dtype: str


def model_bytes(entry: Entry, chosen: EngineOptions) -> int:
    """An estimate of the bytes of memory that a model takes in this process; 0 if its size is unknown, or if a server
    computes it.
    """
    if is_server(chosen.engine):
        return 0
    return entry.memory_needed("bfloat16" if chosen.dtype == "auto" else chosen.dtype)


def make_loader(entries: Mapping[str, Entry], chosen: EngineOptions, memory: MemoryBudget | None = None) -> Loader:
    """A loader of models by name, into this process or from a server. It raises what the engines raise.

    The registry reserves a model's own memory from `memory`; what a model takes later, for a crowd, is reserved here.
    """

    def load(model: str, report: Report) -> Engine:
        if is_server(chosen.engine):
            from decoding.engines.vllm.engine import connect  # imported here: what computes takes a while to import

            return connect(chosen.engine, model=entries[model], dtype=chosen.dtype, report=report)
        from decoding.engines.batching.engine import BatchedEngine
        from decoding.engines.loading import load as load_engine

        options = {"device": chosen.device, "dtype": chosen.dtype, "engine": chosen.engine}
        engine = load_engine(entries[model], **options, report=report)
        if is_zero_gpu():
            from decoding.engines.zero_gpu import ZeroGpuEngine

            return ZeroGpuEngine(engine)
        if memory and (float32_session := getattr(engine.network, "float32_session", None)):
            float32_session.reserve = memory.reserve_for_model
        batched = BatchedEngine(engine)
        for _ in batched.steps([batched.beginning_id or 0], max_new_tokens=1, top_k=1):
            pass  # the first pass is the slowest, so no visitor should wait for it
        return batched

    return load


def make_registry(entries: Mapping[str, Entry], chosen: EngineOptions, memory: MemoryBudget) -> ModelRegistry:
    """The registry of these models. On ZeroGPU they are loaded when this returns."""
    if is_zero_gpu():
        import decoding.engines.zero_gpu  # noqa: F401  # before CUDA is initialized

    @cache
    def offer_lister() -> OfferLister:
        from decoding.serving import availability  # imported here: the page does not wait for the Hub's library

        if is_server(chosen.engine):
            return availability.remote_offers([*entries.values()])
        return availability.local_offers([*entries.values()], dtype=chosen.dtype)

    registry = ModelRegistry(
        make_loader(entries, chosen, memory),
        [*entries],
        lambda ready: offer_lister()(ready),
        memory=memory,
        bytes_needed=lambda name: model_bytes(entries[name], chosen),
        resident_bytes=resident_bytes,
        is_remote=is_server(chosen.engine),
    )
    if is_zero_gpu():  # its processes are forks of this one, and `spaces` replaces CUDA in this thread alone
        for name in registry.names:
            registry.load_in_this_thread(name)
    return registry
