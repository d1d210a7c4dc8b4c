"""The cache of graphs on disk: each in a folder of its own, with its checksums.

Owns when a graph is built (once, under a lock, in a folder that is renamed into place when it is complete), when it is
built again (other weights, another VERSION, a file that is missing or too short), and how much disk it needs.
`stale_graphs` deletes those that nothing needs, before another is built. Knows no architecture.
"""

import errno
import hashlib
import logging
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from math import prod
from pathlib import Path

from decoding.engines.onnx.graph_files import PROVEN_FILE, GraphFiles
from decoding.engines.onnx.graph_proof import NotProvenError, prove
from decoding.engines.onnx.stale_graphs import VERSION_FILE, WORK_PREFIX, delete_stale, record_source
from decoding.errors import ModelError
from decoding.messages import Message, reason_of
from decoding.models.cache import acquire_lock, cache_folder
from decoding.models.checksums import is_complete, sync_to_disk, verifying_checksums, write_checksums
from decoding.models.gguf import read_gguf
from decoding.models.progress import Report, no_report
from decoding.models.resources import check_disk, is_out_of_memory
from decoding.models.safetensors import WIDTHS, StoredTensor, read_headers, weight_files
from decoding.models.spec import ModelSpec, NoGraphError
from decoding.models.spec_config import spec_of_config
from decoding.models.spec_gguf import spec_of_gguf

VERSION = 11
"""Raise it to distrust graphs that were made before."""
_SPEC_FILE, _REFUSAL_FILE, _LOCK = "spec.json", "refused", "lock"
_PIECE = 2**16
_PER_BYTE = 2  # Q5_0, the worst: 22 bytes become 42
_SPARE_BYTES = 4_000_000  # of nodes, norms and biases
_log = logging.getLogger(__name__)
_UNSAFE = re.compile(r"[^\w.-]+")
_STORED = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}


def ensure_graph(source: Path, *, report: Report = no_report) -> GraphFiles:
    """The graph of a GGUF file or of a folder of safetensors, built first if it is not in the cache.

    It is proven before it is kept, or at a later call where memory was too short for that; one that is not proven yet
    is used as it is while another process is at work on any graph. A graph that the proof refused stays refused until
    the files or VERSION change.
    Raises ModelError for damaged files or a full disk, NoGraphError for a model that needs transformers. Safe to call
    from several processes at once.
    """
    cache = cache_folder().absolute() / "graphs"
    if source.is_dir() and not any(source.glob("*.safetensors*")):  # or their index
        raise NoGraphError("its folder holds no safetensors")
    try:
        ready = cache / _folder_name(source)
    except OSError as error:
        reason = f"{Path(error.filename or source).name}: {reason_of(error)}"
        raise ModelError(Message("model.unread", model=source.name, reason=reason)) from error
    except ValueError as error:
        raise NoGraphError(f"its safetensors cannot be read ({error})") from error
    found = _cached_graph(source, ready)
    try:
        if found is None or not found.is_proven:
            found = _build_or_prove(source, ready, report, can_wait=found is None)
        record_source(ready, source)
    except OSError as error:
        if is_out_of_memory(error):
            raise
        reason = reason_of(error)
        if found is None:
            raise ModelError(Message("graph.not_kept", model=source.name, cache=cache, reason=reason)) from error
        _log.warning("The graph of %s is used as it is, because %s cannot be written: %s.", source.name, cache, reason)
    return found


def _build_or_prove(source: Path, ready: Path, report: Report, *, can_wait: bool) -> GraphFiles:
    """Build the graph, or prove the one that was left unproven. One process at a time does that to any graph.
    Raises BlockingIOError if another one does, unless this one `can_wait`.
    """

    def on_wait() -> None:
        report(Message("graph.waiting", model=source.name), None)

    ready.parent.mkdir(parents=True, exist_ok=True)
    with acquire_lock(ready.parent / _LOCK, on_wait if can_wait else None):
        found = _cached_graph(source, ready)  # another process may have built it meanwhile
        if found is None:
            _build_graph(source, ready, report)
        elif not found.is_proven:
            with verifying_checksums(ready, partial(Message, "graph.changed", model=source.name)):
                pass  # a damaged file is made anew: it is no reason to refuse the model for ever
            _prove(found, ready, report)
    if (found := _cached_graph(source, ready)) is None:
        raise OSError(errno.EIO, "what was written is not there")
    return found


def is_graph_of(graph: GraphFiles, source: Path) -> bool:
    """Whether a graph is that of a source as it is now."""
    try:
        return _folder_name(source) == graph.folder.name
    except (OSError, ValueError):
        return False


def build_unpacked(graph: GraphFiles, folder: Path) -> GraphFiles:
    """Write another graph over the weights of a GGUF file into an empty `folder`, with its matrices as float32.

    It is read at once and not kept, so it has no checksums and no place in the cache. Raises ModelError for a damaged
    file or a full disk.
    """
    from decoding.engines.onnx.model_graph import build_gguf  # imported here: a warm start needs no onnx

    file, floats = read_gguf(graph.source), 4 * graph.spec.parameters
    check_disk(graph.source.name, floats + _PER_BYTE * file.path.stat().st_size + _bytes_of_tables(graph.spec), folder)
    build_gguf(file, graph.spec, folder, unpacked=True)
    return GraphFiles(folder, graph.spec, graph.source)


def _cached_graph(source: Path, ready: Path) -> GraphFiles | None:
    """The graph in the folder `ready`; None if it is missing or incomplete. Raises NoGraphError if it was refused."""
    with suppress(OSError):
        raise NoGraphError((ready / _REFUSAL_FILE).read_text("utf-8"))
    if not is_complete(ready):
        return None
    try:
        spec = ModelSpec.from_json((ready / _SPEC_FILE).read_text("utf-8"))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return GraphFiles(ready, spec, source)


def _build_graph(source: Path, ready: Path, report: Report) -> None:
    """Build a graph and rename it into place. The caller holds the lock."""
    cache = ready.parent
    report(Message("graph.preparing", model=source.name), None)
    for left in cache.glob(f"{WORK_PREFIX}{ready.name}-*"):  # the lock was free, so their process has ended
        shutil.rmtree(left, ignore_errors=True)
    delete_stale(cache, _folder_name, version=VERSION)  # before the build, for their room
    spec, bytes_needed, build = _plan(source)
    check_disk(source.name, bytes_needed, cache)
    work = Path(tempfile.mkdtemp(prefix=f"{WORK_PREFIX}{ready.name}-", dir=cache))
    try:
        record_source(work, source)
        graph = work / "graph"
        graph.mkdir()
        build(graph)
        (graph / _SPEC_FILE).write_text(spec.to_json(), "utf-8")
        (graph / VERSION_FILE).write_text(str(VERSION), "utf-8")
        write_checksums(graph)
        _prove(GraphFiles(graph, spec, source), ready, report)
        if ready.exists():
            ready.rename(work / "old")
        graph.rename(ready)
        sync_to_disk(cache)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _prove(files: GraphFiles, ready: Path, report: Report) -> None:
    """Mark a graph as proven, if there is memory to see that it is. If it is refused, the folder `ready` keeps
    only why, and where it came from. The caller holds the lock.
    """
    report(Message("graph.checking", model=files.source.name), None)
    try:
        if prove(files):
            (files.folder / PROVEN_FILE).touch()
    except NoGraphError as error:
        _log.warning("%s goes without a graph: %s.", files.source.name, error)
        if not isinstance(error, NotProvenError):
            shutil.rmtree(ready, ignore_errors=True)
            with suppress(OSError):  # of a full disk: it is built and refused anew
                _keep_refusal(ready, files.source, str(error))
        raise


def _keep_refusal(folder: Path, source: Path, reason: str) -> None:
    folder.mkdir(exist_ok=True)
    record_source(folder, source)
    part = folder / f"{_REFUSAL_FILE}.part"
    part.write_text(reason, "utf-8")
    part.replace(folder / _REFUSAL_FILE)


def _plan(source: Path) -> tuple[ModelSpec, int, Callable[[Path], None]]:
    """The spec of a graph, the bytes that it needs on the disk, and what builds it into a folder."""
    from decoding.engines.onnx.model_graph import build_gguf, build_safetensors  # here: a warm start needs no onnx

    if source.is_dir():
        tensors = _stored_tensors(source)
        spec = spec_of_config(source, _most_common_dtype(tensors))
        copied = sum(4 * prod(one.shape) for one in tensors.values() if one.dtype != "F32")
        return spec, copied + _bytes_of_tables(spec), partial(build_safetensors, source, tensors, spec)
    file = read_gguf(source)
    spec = spec_of_gguf(file)
    weights = sum(_PER_BYTE * tensor.size for tensor in file.tensors.values())
    return spec, weights + _bytes_of_tables(spec), partial(build_gguf, file, spec)


def _bytes_of_tables(spec: ModelSpec) -> int:
    """Bytes of a graph besides its weights: cosines and sines, and a little more."""
    return spec.context_length * sum(4 * rope.width for rope in spec.ropes) + _SPARE_BYTES


def _stored_tensors(folder: Path) -> dict[str, StoredTensor]:
    try:
        return read_headers(weight_files(folder))
    except (OSError, ValueError) as error:
        raise NoGraphError(f"its safetensors cannot be read ({str(error)[:80]})") from error


def _most_common_dtype(tensors: dict[str, StoredTensor]) -> str:
    """The dtype of most values."""
    counts = Counter({"F32": 0})
    for tensor in tensors.values():
        counts[tensor.dtype] += prod(tensor.shape)
    most = counts.most_common(1)[0][0]
    if most not in WIDTHS:
        raise NoGraphError(f"its weights are stored as {most}")
    return _STORED[most]


def _folder_name(source: Path) -> str:
    """The name of a graph's folder: the model's name, and a hash of its files as they are now and of VERSION."""
    found, folder, files, name = hashlib.sha256(f"{VERSION}".encode()), source.parent, [source], source.stem
    if source.is_dir():
        folder, files, name = source, [source / "config.json", *weight_files(source)], source.name
        if (settings := source / "generation_config.json").exists():
            files.append(settings)  # which says where a text ends
    for file in files:
        stat = file.stat()
        found.update(f"{file.relative_to(folder).as_posix()} {stat.st_size} {stat.st_mtime_ns}".encode())
        with file.open("rb") as opened:
            found.update(opened.read(_PIECE))
            opened.seek(max(0, stat.st_size - _PIECE))
            found.update(opened.read(_PIECE))
    return f"{_UNSAFE.sub('-', name)[:60]}-{found.hexdigest()[:16]}"
