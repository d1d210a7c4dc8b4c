"""transformers' own network of a model that another library computes: what proves it, and what searches by beams.

Owns when that network is loaded (where it is asked for, if it has room) and when its memory is given back. torch is
imported then, and no sooner.
"""

import threading
import time
from pathlib import Path
from typing import Any

from decoding.models.catalogue import Entry
from decoding.models.malloc import trim_memory

KEEP_SECONDS = 300.0
"""After so long without being asked for it is given back."""


class Reference:
    """Call it for the network, in float32 on the CPU. Several threads may."""

    def __init__(self, entry: Entry, source: Path, *, keep_seconds: float = KEEP_SECONDS) -> None:
        self._entry, self._source, self._keep_seconds = entry, source, keep_seconds
        self._lock = threading.Lock()
        self._network: Any = None
        self._last_used = 0.0

    def __call__(self) -> Any:
        """Raises RoomError where it does not fit, ModelError where its files are damaged."""
        with self._lock:
            self._last_used = time.monotonic()
            if self._network is None:
                from decoding.engines.torch.reference import load_reference  # here: torch takes seconds to import

                self._network = load_reference(self._entry, self._source)
                self._last_used = time.monotonic()
                threading.Thread(target=self._keep, name="reference", daemon=True).start()
            return self._network

    def _keep(self) -> None:
        while (left := self._last_used + self._keep_seconds - time.monotonic()) > 0:
            time.sleep(left)
        with self._lock:
            self._network = None  # whoever works with it holds it until then
        trim_memory()
