"""The reference: transformers' own network of a model that another library computes.

Owns when that network is loaded (when a proof first needs it) and when its memory is released. Imports
torch only then.
"""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from decoding.errors import ModelError
from decoding.messages import Message
from decoding.models.allocator_settings import trim_memory
from decoding.models.catalogue import Entry

KEEP_SECONDS = 300.0
"""The network is released after this time without use."""


class NetworkOnDemand:
    """Call it to get the network, in float32 on the CPU. Thread-safe."""

    def __init__(self, entry: Entry, source: Path, is_unchanged: Callable[[], bool]) -> None:
        """`is_unchanged` says whether the files are still those that the engine loaded."""
        self._entry, self._source, self._is_unchanged = entry, source, is_unchanged
        self._lock = threading.Lock()
        self._network: Any = None
        self._last_used = 0.0

    def __call__(self) -> Any:
        """The network, loaded if need be. Raises RoomError if it does not fit, ModelError for damaged files and for
        files that changed after the engine loaded them.
        """
        with self._lock:
            self._last_used = time.monotonic()
            if self._network is None:
                if not self._is_unchanged():
                    raise ModelError(Message("model.changed", model=self._entry.name))
                from decoding.engines.torch import float32_network  # imported here, because torch takes seconds

                network = float32_network.load_float32_network(self._entry, self._source)
                self._last_used = time.monotonic()
                threading.Thread(target=self._keep, name="reference", daemon=True).start()
                self._network = network  # kept only once there is a thread that will release it
            return self._network

    def _keep(self) -> None:
        """Release the network when it has not been used for KEEP_SECONDS."""
        while (left := self._last_used + KEEP_SECONDS - time.monotonic()) > 0:
            time.sleep(left)
        with self._lock:
            self._network = None  # callers that still use it hold their own reference
        trim_memory()
