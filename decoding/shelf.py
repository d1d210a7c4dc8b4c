"""The models that are in memory, and the ones that may be.

Owns loading in the background, one at a time, with word of its progress. Knows no torch: it is given a loader, so that
tests give it a fake.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from decoding.engines import Engine
from decoding.errors import GreedyscopeError, ModelError, RequestError

Report = Callable[[str, float | None], None]
Loader = Callable[[str, Report], Engine]

_POLL_SECONDS = 0.2


class Shelf:
    """The operator's list of models: visitors choose from `names`, and the first is the one to begin with."""

    def __init__(self, loader: Loader, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._loader = loader
        self._lock = threading.Lock()
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="shelf")
        self._engines: dict[str, Future[Engine]] = {}
        self._progress: dict[str, str] = {}

    def request(self, name: object) -> Future[Engine]:
        """Have a model loaded, if it is not yet. A load that failed is tried again. Raises RequestError for a name that
        is not on the list.
        """
        if not isinstance(name, str) or name not in self.names:
            raise RequestError(
                f'The model "{str(name)[:80]}" is not offered here. Choose one of: {", ".join(self.names)}.',
                field="model",
            )
        with self._lock:
            future = self._engines.get(name)
            if future is None or (future.done() and future.exception() is not None):
                self._progress[name] = f"Loading {name} …"
                future = self._engines[name] = self._worker.submit(self._load, name)
            return future

    def wait(self, name: object) -> Iterator[str]:
        """Word of a load while it goes on, each sentence once; ends when the model is ready. Raises what the load
        raised.
        """
        future = self.request(name)
        said = ""
        while not future.done():
            if (word := self._progress[str(name)]) != said:
                yield (said := word)
            try:
                future.exception(timeout=_POLL_SECONDS)
            except TimeoutError:
                continue
        future.result()

    def engine(self, name: object) -> Engine:
        """The model, loaded; waits for it."""
        return self.request(name).result()

    def _load(self, name: str) -> Engine:
        def report(message: str, fraction: float | None) -> None:
            self._progress[name] = message if fraction is None else f"{message} ({fraction:.0%})"

        try:
            return self._loader(name, report)
        except GreedyscopeError:
            raise
        except Exception as error:
            logging.getLogger(__name__).exception("loading %s failed", name)
            raise ModelError(f"{name} could not be loaded; the server's log says why. Try another model.") from error
