"""A second session over the weights of a four-bit graph as float32, while many rows are decoded at once.

Owns when that session is made and released, and the memory it needs. Knows no rows and no scheduler.

Four-bit weights are fastest for one row, but many rows unpack them in each pass: 32 rows take 54 ms over four bits and
38 ms over float32. The session is made in a thread while decoding goes on without it. If making it fails, or its memory
cannot be reserved, there is no second session and no run ends.
"""

import logging
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from decoding.engines.onnx.graph_cache import build_unpacked
from decoding.engines.onnx.graph_files import GraphFiles
from decoding.engines.onnx.graph_proof import prove_same
from decoding.engines.onnx.session import Session, Threads
from decoding.models.allocator_settings import trim_memory
from decoding.models.resources import free_memory

CROWD_ROWS = 6
"""The session is made for at least this many rows. On two cores, 8 rows take 26 ms over four bits, 19 over float32."""
SHARED_ROWS = 3
"""An existing session computes at least this many rows: 3 rows take 15.4 ms together, and 18 ms one by one."""
KEEP_SECONDS = 60.0
"""The session is released after this time without a pass over SHARED_ROWS or more."""
PLENTY = 1.5
"""The session is made only if this many times the size of the weights is free, which is what making it takes."""


class Reservation(Protocol):
    """Memory that is reserved until `release`; see `decoding.serving.memory_budget`."""

    def resize(self, needed: int) -> None: ...
    def release(self) -> None: ...


class _Unlimited:
    """For the library, which counts no memory."""

    def resize(self, needed: int) -> None: ...
    def release(self) -> None: ...


class Float32Session:
    """A second session while there are enough rows for it. Thread-safe."""

    def __init__(self, files: GraphFiles, packed: Session, threads: Threads) -> None:
        """`packed` is the session over the graph of `files` as it is; the new one must say the same."""
        self._files, self._packed, self._threads = files, packed, threads
        self._size = 4 * files.spec.parameters
        self._lock = threading.Lock()
        self._keeper: threading.Thread | None = None
        self._session: Session | None = None
        self._last_used, self._has_failed = 0.0, False
        self.reserve: Callable[[int], Reservation | None] = lambda needed: _Unlimited()
        """Reserves bytes of the process's memory budget, or returns None if they are not free."""

    @property
    def is_ready(self) -> bool:
        return self._session is not None

    def session(self, rows: int) -> Session | None:
        """The session for a pass over `rows` rows, or None if the four-bit session is to be used.

        Starts making the session if there is none yet and CROWD_ROWS ask for it. Never waits.
        """
        if rows < SHARED_ROWS:
            return None
        with self._lock:
            self._last_used = time.monotonic()
            is_missing = self._session is None and self._keeper is None and not self._has_failed
            needed = int(PLENTY * self._size)
            if is_missing and rows >= CROWD_ROWS and free_memory() > needed and (memory := self.reserve(needed)):
                # No daemon: a process that ends would kill it inside ONNX Runtime, which then aborts the process.
                keeper = threading.Thread(target=self._make_and_keep, args=[memory], name="float32 weights")
                try:
                    keeper.start()
                    self._keeper = keeper
                except RuntimeError:  # no thread can be started now
                    memory.release()
            return self._session

    def _make_and_keep(self, memory: Reservation) -> None:
        try:
            made = self._make()
            trim_memory()
            memory.resize(self._size)
            with self._lock:
                self._last_used = time.monotonic()
                keeper = threading.Thread(
                    target=self._release_when_unused, args=[memory], name="float32 weights", daemon=True
                )
                keeper.start()
                self._session, self._keeper = made, keeper
        except Exception:
            memory.release()
            logging.getLogger(__name__).warning("no float32 weights for a crowd; it goes on without", exc_info=True)
            with self._lock:
                self._has_failed, self._keeper = True, None

    def _release_when_unused(self, memory: Reservation) -> None:
        while (left := self._last_used + KEEP_SECONDS - time.monotonic()) > 0:
            time.sleep(left)
        with self._lock:
            self._session = self._keeper = None
        trim_memory()
        memory.release()

    def _make(self) -> Session:
        """Make the session; the graph is on disk only until the session has read it."""
        folder = Path(tempfile.mkdtemp(prefix="greedyscope-"))
        try:
            session = Session(build_unpacked(self._files, folder), self._threads)
            prove_same(session, self._packed)
            return session
        finally:
            shutil.rmtree(folder, ignore_errors=True)
