"""The weights of a four-bit graph as float32, in a session of their own while many texts are written at once.

Owns when that session is made, when it is given back, and what memory it needs. One row reads four bits fastest; many
rows unpack them at each pass, and over weights that are unpacked once 32 rows take 38 ms where they take 54. It is made
in a thread while the crowd goes on without it, and no failure ends a run: then there is no second session.
"""

import logging
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from decoding.engines.onnx.graph_files import GraphFiles
from decoding.engines.onnx.proof import prove_same
from decoding.engines.onnx.session import Session, Threads
from decoding.models.malloc import trim_memory
from decoding.models.resources import free_memory

CROWD_ROWS = 6
"""So many rows are a crowd. On two cores: 8 rows take 26 ms over four bits and 19 over float32."""
SHARED_ROWS = 3
"""While the session is there, from so many rows on it computes: 3 rows in 15.4 ms, where one by one they take 18."""
KEEP_SECONDS = 60.0
"""After so long without a crowd the memory is given back."""
PLENTY = 1.5
"""How many times the weights' size has to be free."""


@dataclass(frozen=True, slots=True)
class Float32Weights:
    """The same weights as float32: their size in bytes, and what writes a graph of them into a folder."""

    size: int
    make: Callable[[Path], GraphFiles]


class Float32Session:
    """A second session, while there are enough rows for it."""

    def __init__(
        self, weights: Float32Weights, packed: Session, threads: Threads, *, keep_seconds: float = KEEP_SECONDS
    ) -> None:
        """`packed` computes the same weights as they are stored: the new session has to say what it says."""
        self._weights, self._packed, self._threads, self._keep_seconds = weights, packed, threads, keep_seconds
        self._lock = threading.Lock()
        self._keeper: threading.Thread | None = None
        self._session: Session | None = None
        self._last_used, self._has_failed = 0.0, False

    def session(self, rows: int) -> Session | None:
        """The session for a pass of so many rows, or None. A crowd that has none yet has it made."""
        if rows < SHARED_ROWS:
            return None
        with self._lock:
            self._last_used = time.monotonic()
            is_missing = self._session is None and self._keeper is None and not self._has_failed
            if is_missing and rows >= CROWD_ROWS and free_memory() > PLENTY * self._weights.size:
                self._keeper = threading.Thread(target=self._keep, name="float32 weights", daemon=True)
                self._keeper.start()
            return self._session

    def _keep(self) -> None:
        """Make the session, and give it back once nothing has asked for it for a while."""
        try:
            made = self._make()
        except Exception:
            logging.getLogger(__name__).warning("no float32 weights for a crowd; it goes on without", exc_info=True)
            with self._lock:
                self._has_failed, self._keeper = True, None
            return
        with self._lock:
            self._session, self._last_used = made, time.monotonic()
        del made
        while (left := self._last_used + self._keep_seconds - time.monotonic()) > 0:
            time.sleep(left)
        with self._lock:
            self._session = self._keeper = None
        trim_memory()

    def _make(self) -> Session:
        """The graph lies on the disk only until the session has read it."""
        folder = Path(tempfile.mkdtemp(prefix="greedyscope-"))
        try:
            session = Session(self._weights.make(folder), self._threads)
            prove_same(session, self._packed)
            return session
        finally:
            shutil.rmtree(folder, ignore_errors=True)
