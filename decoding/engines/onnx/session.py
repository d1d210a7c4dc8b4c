"""ONNX Runtime over one graph: a session, and passes that write keys and values in place.

Owns session options, threads, the names of inputs and outputs, and their bindings. Knows no text and no scheduler.
`architecture.layers` states the inputs and outputs of a graph. One array holds keys and values, bound as input and as
output, so a pass appends those of its own ids and copies nothing.
"""

import mmap
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from decoding.engines.onnx.graph_files import GraphFiles
from decoding.models.resources import is_out_of_memory

Floats = NDArray[np.float32]

MAX_THREADS = 8
"""Decoding one row is bound by memory bandwidth, which few cores saturate; the others stay free for other work."""
SPIN_MICROSECONDS = 100
"""How long an idle thread spins before it sleeps. The products of one step follow each other sooner than that; between
two steps the thread sleeps and leaves the core to others. README.md has the figures.
"""
_QUIET = 3  # log errors only
_NUMPYS_HUGE_PAGES = 4 * 2**20
"""From this size on, NumPy asks for pages of 2 MiB, and each is in memory once any of its bytes is written: buffers for
32 rows would take 189 MB when 24 are filled.
"""
_PRIVATE = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if os.name == "posix" else {}


@dataclass(frozen=True, slots=True)
class Threads:
    """The number of threads of a session, and how many microseconds an idle one spins (0: not at all)."""

    count: int
    spin_microseconds: int = SPIN_MICROSECONDS


def default_threads() -> Threads:
    """One thread for each core that this process may run on, at most MAX_THREADS."""
    return Threads(max(1, min(MAX_THREADS, _cores())))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Session:
    """A loaded graph. Thread-safe as long as each thread runs passes over buffers of its own."""

    def __init__(self, files: GraphFiles, threads: Threads) -> None:
        options: Any = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads.count
        options.log_severity_level = _QUIET
        options.enable_cpu_mem_arena = False  # it would keep what the longest prompt took
        options.add_session_config_entry("session.intra_op.allow_spinning", str(int(threads.spin_microseconds > 0)))
        if threads.spin_microseconds:
            options.add_session_config_entry("session.intra_op.spin_duration_us", str(threads.spin_microseconds))
        self.runtime: Any = files.open(options)
        self.spec = files.spec
        self.names = [f"{kind}{layer}" for layer in range(files.spec.layers) for kind in "kv"]

    def new_buffers(self, rows: int, width: int) -> Floats:
        """Zeroed buffers for keys and values.  (2 · layers, rows, kv heads, width, head width), float32

        Pages that are never written take no memory. Raises MemoryError or OSError (ENOMEM).
        """
        shape = (len(self.names), rows, self.spec.kv_heads, width, self.spec.head_width)
        size = 4 * prod(shape)
        if size < _NUMPYS_HUGE_PAGES:
            return np.zeros(shape, np.float32)
        return np.frombuffer(mmap.mmap(-1, size, **_PRIVATE), np.float32).reshape(shape)

    @property
    def bytes_per_token(self) -> int:
        """Bytes of the keys and values of one id of one row."""
        return len(self.names) * self.spec.kv_heads * self.spec.head_width * 4


@dataclass(frozen=True, slots=True)
class Texts:
    """Where the texts of a pass are in the ids that it reads; see `architecture.layers` (`declare_inputs`)."""

    at: NDArray[np.int64]
    """The place of each text's ids.  (texts, width)"""
    ids_at: NDArray[np.int64]
    """A text, and a place in it, that has the id.  (ids, 2)"""


@lru_cache(maxsize=64)
def texts_in_turn(count: int, width: int) -> Texts:
    """Texts of the same width, one behind the other."""
    places = np.arange(count * width, dtype=np.int64)
    return Texts(places.reshape(count, width), np.stack(np.divmod(places, width), axis=-1))


class BoundPass:
    """Passes of one session over the same buffers, those of one sequence or of a batch. Not thread-safe."""

    def __init__(self, session: Session, buffers: Floats) -> None:
        self._session, self._buffers = session, buffers  # the binding itself holds no reference to them
        self._binding: Any = session.runtime.io_binding()
        self._texts: Texts | None = None  # as they are bound
        for name, buffer in zip(session.names, buffers, strict=True):
            value: Any = onnxruntime.OrtValue.ortvalue_from_numpy(buffer)
            self._binding.bind_ortvalue_input(f"past_{name}", value)
            self._binding.bind_ortvalue_output(f"new_{name}", value)

    def run(
        self,
        ids: NDArray[np.int64],
        lengths: Sequence[int],
        positions: Sequence[int],
        *,
        layers_at: Sequence[int] = (),
        texts: Texts | None = None,
    ) -> Floats:
        """Read `ids`, shape (ids,), after the first `lengths[text]` positions of each text. Without `texts`, the texts
        follow each other and have the same width.

        Returns the logits after the ids at `positions`, shape (positions, vocabulary), float32, and behind them those
        of every layer at `layers_at`. Raises MemoryError if memory runs out.
        """
        texts = texts or texts_in_turn(len(lengths), len(ids) // len(lengths))
        binding, ends = self._binding, np.asarray(lengths, np.int32) + np.int32(texts.at.shape[1])
        rows = len(positions) + self._session.spec.layers * len(layers_at)
        logits = np.empty((rows, self._session.spec.vocabulary_size), np.float32)
        binding.bind_cpu_input("input_ids", ids)
        if texts is not self._texts:  # from one step to the next they are the same
            self._texts = texts
            binding.bind_cpu_input("texts_at", texts.at)
            binding.bind_cpu_input("ids_at", texts.ids_at)
        binding.bind_cpu_input("seqlens_k", ends - np.int32(1))
        binding.bind_cpu_input("total_length", np.array(ends.max(), np.int32))
        binding.bind_cpu_input("positions", np.asarray(positions, np.int64))
        binding.bind_cpu_input("layers_at", np.asarray(layers_at, np.int64))
        binding.bind_ortvalue_output("logits", onnxruntime.OrtValue.ortvalue_from_numpy(logits))
        try:
            self._session.runtime.run_with_iobinding(binding)
        except Exception as error:
            if is_out_of_memory(error):
                raise MemoryError(str(error)[:200]) from error
            raise
        return logits
