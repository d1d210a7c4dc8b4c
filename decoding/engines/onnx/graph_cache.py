"""The graphs that were made, kept in the cache: each in a folder of its own, its sums beside it.

Owns when a graph is made (once, under a lock, in a folder that is renamed into place when it is whole), what it is made
anew for (other weights, another version of this program's graphs, a file that is missing or short), and how much disk
it needs. Knows no architecture and no runtime.
"""

import errno
import hashlib
import re
import shutil
import tempfile
from dataclasses import dataclass
from math import prod
from pathlib import Path

import onnxruntime

from decoding.engines.onnx.building import build_gguf
from decoding.engines.onnx.graph_builder import GRAPH_FILE
from decoding.errors import ModelError
from decoding.models.checksums import flush, is_whole, seal
from decoding.models.gguf import GgufFile, read_gguf
from decoding.models.resources import check_disk
from decoding.models.spec import ModelSpec
from decoding.models.starter import Report, cache_folder, silent

VERSION = 1
"""Raise it to distrust graphs that were made before."""
SPEC_FILE = "spec.json"
_WORK_PREFIX = "making-"
_PIECE = 2**16
_PER_BYTE = 2.0  # Q5_0, the worst: 22 bytes become 42
_TABLES_BYTES = 100_000_000  # of rotary embeddings, and some to spare
_UNSAFE = re.compile(r"[^\w.-]+")
GRAPH_NOT_KEPT = (
    "The graph of {model} cannot be kept in {cache} ({reason}): set GREEDYSCOPE_CACHE to a writable folder."
)


@dataclass(frozen=True, slots=True)
class GraphFiles:
    """A graph on the disk."""

    folder: Path
    spec: ModelSpec

    def open(self, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
        """A session over the graph, on the CPU. `options` are completed with what the graph needs."""
        return onnxruntime.InferenceSession(self.folder / GRAPH_FILE, options, providers=["CPUExecutionProvider"])


def graphs_folder() -> Path:
    return cache_folder() / "graphs"


def ensure_graph(
    source: Path, *, unpacked: bool = False, folder: Path | None = None, report: Report = silent
) -> GraphFiles:
    """The graph of a GGUF file, made first where it is not in the cache yet; `unpacked`: its weights as float32, for
    many rows at once. Raises ModelError where it cannot be made.
    """
    cache = (folder or graphs_folder()).absolute()
    ready = cache / _name(source, unpacked)
    try:
        if (found := _found(ready)) is None:
            import filelock  # here: a warm start needs none

            cache.mkdir(parents=True, exist_ok=True)
            with filelock.FileLock(cache / f"{ready.name}.lock"):
                if (found := _found(ready)) is None:
                    _make(source, ready, unpacked, report)
                    found = _found(ready)
        if found is None:
            raise OSError(errno.EIO, "what was written is not there")
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ModelError(GRAPH_NOT_KEPT.format(model=source.name, cache=cache, reason=reason)) from error
    return found


def _found(ready: Path) -> GraphFiles | None:
    """A graph that is here and whole."""
    if not is_whole(ready):
        return None
    try:
        return GraphFiles(ready, ModelSpec.from_json((ready / SPEC_FILE).read_text("utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _make(source: Path, ready: Path, unpacked: bool, report: Report) -> None:
    """Only for the holder of the lock."""
    report(f"Preparing {source.name} …", None)
    for left in ready.parent.glob(f"{_WORK_PREFIX}{ready.name}-*"):  # the lock was free, so whoever made these is gone
        shutil.rmtree(left, ignore_errors=True)
    gguf = read_gguf(source)
    check_disk(source.name, _bytes_needed(gguf, unpacked), ready.parent)
    work = Path(tempfile.mkdtemp(prefix=f"{_WORK_PREFIX}{ready.name}-", dir=ready.parent))
    try:
        graph = work / "graph"
        graph.mkdir()
        spec = build_gguf(gguf, graph, unpacked=unpacked)
        (graph / SPEC_FILE).write_text(spec.to_json(), "utf-8")
        seal(graph)
        if ready.exists():
            ready.rename(work / "old")
        graph.rename(ready)
        flush(ready.parent)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _bytes_needed(file: GgufFile, unpacked: bool) -> int:
    """Bytes of a graph: weights as stored, those of more than four bits as two of four, or four bytes each; tables."""
    weights = sum(prod(t.shape) * 4 if unpacked else _PER_BYTE * t.size for t in file.tensors.values())
    return int(weights) + _TABLES_BYTES


def _name(source: Path, unpacked: bool) -> str:
    """A folder's name: the model's, and a sum of what the graph is made of: the file as it is now, and our version."""
    stat = source.stat()
    with source.open("rb") as opened:
        begins = opened.read(_PIECE)
        opened.seek(max(0, stat.st_size - _PIECE))
        ends = opened.read(_PIECE)
    made_of = f"{VERSION} {unpacked} {stat.st_size} {stat.st_mtime_ns}".encode()
    found = hashlib.sha256(made_of + begins + ends).hexdigest()[:16]
    return f"{_UNSAFE.sub('-', source.stem)[:60]}{'-float32' if unpacked else ''}-{found}"
