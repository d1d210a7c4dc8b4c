"""Loads a model's files as an engine that ONNX Runtime computes.

Owns the way from the files to a graph, a session and the facts in the page's header. Knows no torch: the reference
(transformers' own network of the same weights) is imported when it is asked for.
"""

from functools import partial
from pathlib import Path

import onnxruntime

from decoding.engines.local_engine import LocalEngine
from decoding.engines.model_facts import ModelFacts
from decoding.engines.network_on_demand import NetworkOnDemand
from decoding.engines.onnx.graph_cache import ensure_graph, is_graph_of
from decoding.engines.onnx.graph_files import GraphFiles
from decoding.engines.onnx.network import OnnxNetwork
from decoding.errors import ModelError
from decoding.messages import Message
from decoding.models.catalogue import Entry, memory_of_files
from decoding.models.checksums import verifying_checksums
from decoding.models.gguf import read_gguf
from decoding.models.gguf_file_tokenizer import gguf_tokenizer
from decoding.models.model_paths import adapter_note, revision_of, verifying_source
from decoding.models.progress import Report
from decoding.models.resources import check_memory, free_memory
from decoding.models.safetensors import weight_files
from decoding.models.spec import NoGraphError, row_of
from decoding.models.spec_gguf import spec_of_gguf
from decoding.models.tokenizer import FileTokenizer, read_tokenizer
from decoding.record.tokens import Vocabulary
from decoding.record.trace import ModelInfo

UNPROVEN = "unproven"
"""In the engine's name, until its graph is compared: the page's header then says "not checked yet", and not "exact"."""


def load_graph(entry: Entry, source: Path, *, why: str, report: Report) -> LocalEngine:
    """The engine of the weights in `source`, a GGUF file or a folder; `why` says in the header why this engine is used.

    Raises NoGraphError if such a model cannot be a graph, ModelError if its files are damaged, RoomError if it does not
    fit into memory.
    """
    needed = memory_of_files(sum(file.stat().st_size for file in _files_of(source)))
    check_memory(entry.name, needed, free_memory(), where=Message("room.memory.cpu"), dtype="float32")
    with verifying_source(entry, source):
        # Read first: a model without a tokenizer leaves no graph behind.
        tokenizer = _tokenizer_in(source) if source.is_dir() else _tokenizer_of(entry, source)
        graph = ensure_graph(source, report=report)
        report(Message("model.loading", model=entry.name), None)
        try:
            network = _opened(graph, entry)
        except Exception as error:
            if graph.is_proven or isinstance(error, MemoryError):
                raise
            graph = ensure_graph(source, report=report)  # another process may have refused and deleted it meanwhile
            network = _opened(graph, entry)
    spec, unproven = graph.spec, [] if graph.is_proven else [UNPROVEN]
    facts = ModelFacts(
        info=ModelInfo(
            id=entry.name,
            revision=revision_of(entry, source),
            dtype="float32",
            device="cpu",
            engine=", ".join((f"ONNX Runtime {onnxruntime.__version__}", *unproven, spec.description)),
            # In place of `why`, which says that float32 is exact.
            why="; ".join(filter(None, (Message("why.unproven") if unproven else why, adapter_note(source)))),
        ),
        vocabulary=Vocabulary(tokenizer),
        vocabulary_size=spec.vocabulary_size,
        end_ids=spec.end_ids,
        beginning_id=row_of(tokenizer.bos_token_id, spec.beginning_id, rows=spec.vocabulary_size),
        context_length=spec.context_length,
    )
    reference = NetworkOnDemand(entry, source, partial(is_graph_of, graph, source))
    return LocalEngine(facts, network, reference=reference)


def _opened(graph: GraphFiles, entry: Entry) -> OnnxNetwork:
    with verifying_checksums(graph.folder, partial(Message, "graph.changed", model=entry.name)):
        return OnnxNetwork(graph, unpacks=graph.spec.is_quantized)


def _files_of(source: Path) -> list[Path]:
    """What is loaded, and nothing that lies beside it: the same weights in another format, or an adapter."""
    try:
        files = weight_files(source) if source.is_dir() else [source]
    except (OSError, ValueError):
        return []  # whoever makes the graph says what is wrong
    return [file for file in files if file.exists()]


def _tokenizer_in(folder: Path) -> FileTokenizer:
    try:
        return read_tokenizer(folder)
    except Exception as error:  # transformers may know its other files, or says what is wrong with this one
        raise NoGraphError(f"its tokenizer.json cannot be read ({str(error)[:80]})") from error


def _tokenizer_of(entry: Entry, source: Path) -> FileTokenizer:
    try:
        return gguf_tokenizer(entry, source)
    except ModelError:
        spec_of_gguf(read_gguf(source))  # a file that is no model of a known family is refused as that
        raise
