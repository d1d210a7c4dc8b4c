"""Loads a model in this process: with ONNX Runtime on a CPU, with torch everywhere else.

Owns the choice of the engine, and its reason. A model with a graph runs in ONNX Runtime on a CPU in float32; models
without one, other dtypes and GPUs use transformers. Imports torch only if it computes.
"""

import logging
from pathlib import Path

from decoding.engines import ENGINES
from decoding.engines.local_engine import LocalEngine
from decoding.errors import RequestError, RoomError
from decoding.messages import Message
from decoding.models.catalogue import Entry
from decoding.models.config_size_limits import check_counts
from decoding.models.devices import place
from decoding.models.known_sizes import with_known_size
from decoding.models.model_paths import entry_of, find_source, holds_gguf
from decoding.models.progress import Report, no_report
from decoding.models.resources import check_memory, free_memory, is_out_of_memory
from decoding.models.safetensors import count_parameters
from decoding.models.spec import NoGraphError
from decoding.models.spec_config import spec_of_config


def load(
    model: str | Entry, *, device: str = "auto", dtype: str = "auto", engine: str = "auto", report: Report = no_report
) -> LocalEngine:
    """Load a model of the catalogue, a local folder or a GGUF file; an `Entry` may name any repository of the Hub.

    `device` is "auto", "cuda", "mps" or "cpu"; `dtype` is "auto" (float32 if it fits comfortably, else bfloat16),
    "float32", "bfloat16" or "float16"; `engine` is "auto", or "torch" for transformers' network everywhere. `report` is
    called with the progress. Raises RequestError for a name, device, dtype or engine that does not exist, ModelError
    for a model that cannot be fetched or loaded, RoomError for one that does not fit.
    """
    if engine not in ENGINES:
        raise RequestError(Message("model.engine", engine=str(engine)[:80], engines=", ".join(ENGINES)), field="model")
    entry = model if isinstance(model, Entry) else entry_of(model)
    why = Message("why.engine") if engine == "torch" else ""
    try:
        return _load(entry, device, dtype, why, report)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise RoomError(Message("memory.load", model=entry.name)) from error


def _load(entry: Entry, device: str, dtype: str, why: str, report: Report) -> LocalEngine:
    placement = place(entry.name, 0 if holds_gguf(entry) else entry.parameters, device=device, dtype=dtype)
    if not why and (placement.device, placement.dtype) == ("cpu", "float32"):
        try:
            return _by_graph(entry, placement.why, dtype, report)
        except NoGraphError as error:
            logging.getLogger(__name__).info("%s goes through transformers: %s", entry.name, error)
            why = Message("why.no_graph")
    from decoding.engines.torch.engine import load as load_torch  # imported here: it takes seconds

    return load_torch(entry, device=device, dtype=dtype, report=report, why=why)


def _by_graph(entry: Entry, why: str, dtype: str, report: Report) -> LocalEngine:
    """Load a model for ONNX Runtime. Raises NoGraphError if such a model has no graph, or only 16 bits fit."""
    from decoding.engines.onnx.engine import load_graph  # imported here: a GPU needs no ONNX Runtime

    def check_fits(half: Path, parameters: int) -> None:
        if entry.file:
            needed = with_known_size(entry).memory_needed("float32")
            check_memory(entry.name, needed, free_memory(), where=Message("room.memory.cpu"), dtype="float32")
            from decoding.models.gguf_head import check_head  # imported here: its library takes half a second

            check_head(entry, report)
            return
        check_counts(entry.name, half)
        try:
            spec_of_config(half, "float32")
        except NoGraphError:
            from decoding.models.config_support import check_config, check_quantized

            check_quantized(entry.name, check_config(entry.name, half))
        _check_dtype(entry, parameters, dtype)

    source = find_source(entry, report, check_fits)
    if source.is_dir():
        check_counts(entry.name, source)
        _check_dtype(entry, count_parameters(source), dtype)
    return load_graph(entry, source, why=why, report=report)


def _check_dtype(entry: Entry, parameters: int, dtype: str) -> None:
    if not entry.parameters and place(entry.name, parameters, device="cpu", dtype=dtype).dtype != "float32":
        raise NoGraphError("it does not fit comfortably in float32")
