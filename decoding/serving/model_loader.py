"""Loads a model into memory that is reserved first, and evicts others where it does not fit.

Owns the reservation of a load, and its size once the model is loaded. Knows no visitor and no thread.
"""

from collections.abc import Callable

from decoding.engines import Engine
from decoding.errors import RoomError
from decoding.messages import Message
from decoding.models.catalogue import format_bytes
from decoding.models.resources import is_out_of_memory
from decoding.serving.memory_budget import MemoryBudget
from decoding.serving.model_eviction import LoadedModels

Report = Callable[[str, float | None], None]
Loader = Callable[[str, Report], Engine]


class ModelLoader:
    """Loads with `loader` into `models`. `bytes_needed` estimates the bytes that a model will take, `resident_bytes`
    measures what the process takes now.
    """

    def __init__(
        self,
        loader: Loader,
        models: LoadedModels,
        memory: MemoryBudget,
        *,
        bytes_needed: Callable[[str], int],
        resident_bytes: Callable[[], int] | None,
    ) -> None:
        self._loader, self._models, self._memory = loader, models, memory
        self._bytes_needed, self._resident_bytes = bytes_needed, resident_bytes

    def load(self, name: str, report: Report) -> Engine:
        """Load a model. If it does not fit, evict others, one after another, and try again."""
        while True:
            try:
                return self._load_within_budget(name, report)
            except RoomError:
                if not self._models.evict_one():
                    raise
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                if not self._models.evict_one():
                    raise RoomError(Message("memory.load", model=name)) from error

    def _load_within_budget(self, name: str, report: Report) -> Engine:
        """Load a model into memory that is reserved first. Raises RoomError if it cannot be."""
        estimated, before = self._bytes_needed(name), self._resident_bytes() if self._resident_bytes else 0
        reservation = self._memory.reserve_for_model(estimated)
        if reservation is None:
            raise RoomError(
                Message(
                    "memory.model",
                    model=name,
                    needed=format_bytes(estimated),
                    free=format_bytes(self._memory.bytes_for_requests),
                    total=format_bytes(self._memory.total),
                )
            )
        try:
            engine = self._loader(name, report)
        except BaseException:
            reservation.release()
            raise
        if self._resident_bytes and self._memory.is_idle:  # then the process has grown by this model alone
            grown = max(0, self._resident_bytes() - before)
            reservation.resize(min(grown, estimated) if estimated else grown)
            self._memory.update_resident(self._resident_bytes())
        self._models.add(name, engine, reservation)
        return engine
