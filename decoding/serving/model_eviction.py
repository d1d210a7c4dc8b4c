"""The models in memory, and which of them is evicted when another one needs the memory.

Owns the order of use and the memory reservation of each model. Knows no loader and no visitor.
"""

import gc
import threading
import weakref
from collections import OrderedDict

from decoding.engines import Engine
from decoding.serving.memory_budget import Reservation


class LoadedModels:
    """Engines by name, least recently used first. Thread-safe.

    A model that somebody holds a reference to is in use, and is never evicted.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._engines: OrderedDict[str, Engine] = OrderedDict()
        self._reservations: dict[str, Reservation] = {}

    def names(self) -> tuple[str, ...]:
        with self._lock:
            return tuple(self._engines)

    def engines(self) -> tuple[Engine, ...]:
        with self._lock:
            return tuple(self._engines.values())

    def get(self, name: str) -> Engine | None:
        """The engine of this name, now the most recently used one; None if it is not in memory."""
        with self._lock:
            if engine := self._engines.get(name):
                self._engines.move_to_end(name)
            return engine

    def add(self, name: str, engine: Engine, reservation: Reservation | None = None) -> None:
        """Add an engine as the most recently used one, or in place of an outdated one; `reservation` is released when
        it goes.
        """
        with self._lock:
            self._engines[name] = engine
            self._engines.move_to_end(name)
            if before := self._reservations.pop(name, None):
                before.release()
            if reservation:
                self._reservations[name] = reservation

    def evict_one(self) -> bool:
        """Evict the least recently used model that is neither the most recently used one nor in use. Returns whether
        one was evicted.
        """
        with self._lock:
            gc.unfreeze()  # `quick_imports` freezes all objects, perhaps models too
            order = [*self._engines]
            for name in order[:-1]:
                evicted = weakref.ref(self._engines.pop(name))
                gc.collect()  # a model is full of reference cycles
                if (engine := evicted()) is None:
                    if reservation := self._reservations.pop(name, None):
                        reservation.release()
                    return True
                self._engines[name] = engine  # still in use
                for later in order[order.index(name) + 1 :]:
                    self._engines.move_to_end(later)
            return False
