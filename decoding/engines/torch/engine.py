"""Models that transformers computes in this process, made ready to decode. Owns the way from a loaded network to an
engine.
"""

from dataclasses import replace

from decoding.engines.local import LocalEngine, ModelFacts
from decoding.engines.network import Network
from decoding.engines.torch import cuda_graph_decoder
from decoding.engines.torch.network import TorchNetwork
from decoding.engines.torch.reading_proof import prove, unproved
from decoding.models.catalogue import Entry
from decoding.models.lent import zero_gpu
from decoding.models.loading import Loaded, load_model
from decoding.models.starter import Report, silent

__all__ = ["LocalEngine", "engine_of", "load"]


def load(model: str | Entry, *, device: str = "auto", dtype: str = "auto", report: Report = silent) -> LocalEngine:
    """Load a model of the catalogue, or a local folder, and make it ready to decode; an entry of one's own may name any
    repository of the Hub.

    `device` is "auto", "cuda", "mps" or "cpu"; `dtype` is "auto" (float32 where it fits comfortably, else bfloat16),
    "float32", "bfloat16" or "float16". `report` hears of progress. Raises RequestError for a name, device or dtype that
    does not exist, ModelError for a model that cannot be had, RoomError for one that does not fit.
    """
    return engine_of(load_model(model, device=device, dtype=dtype, report=report))


def engine_of(loaded: Loaded) -> LocalEngine:
    """The engine over a network that is in memory, which is tried with a few ids. Raises ModelError for a network that
    does not read forward.
    """
    is_here = not zero_gpu()  # a GPU that is lent is not here yet: the first run tries the network
    proved = prove(loaded.network, model=loaded.info.id) if is_here else unproved(loaded.network)
    network: Network = TorchNetwork(proved.reader, model=loaded.info.id, is_proved=is_here)
    ways, notes = [loaded.info.engine], [loaded.info.why, *proved.notes]
    if loaded.network.device.type == cuda_graph_decoder.DEVICE and proved.reader.is_plain:
        network, why_not = cuda_graph_decoder.decoder_or_plain(loaded.network, network)
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
