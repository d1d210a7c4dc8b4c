"""The models that are in memory, and the ones that may be.

Owns loading in the background, one at a time, with word of its progress, and letting go of what another needs the room
of. Knows no torch: it is given a loader, so that tests give it a fake.
"""

import gc
import logging
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from decoding.engines import Engine
from decoding.errors import GreedyscopeError, ModelError, RequestError, RoomError

Report = Callable[[str, float | None], None]
Loader = Callable[[str, Report], Engine]

_POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Offer:
    """A model as it stands in the list that people choose from: a label, and why it cannot be had now, if it cannot."""

    name: str
    label: str
    why_not: str = ""


Look = Callable[[Sequence[str]], Sequence[Offer]]
"""Is given the names of the models in memory, and looks at disk and network; may take some seconds."""


class Shelf:
    """The operator's list of models: visitors choose from `names`, and the first is the one to begin with.

    A model that somebody holds is in use, and is never let go: hold an engine for as long as you need it, and no
    longer.
    """

    def __init__(self, loader: Loader, names: Sequence[str], look: Look | None = None) -> None:
        self.names = tuple(names)
        self._loader, self._look = loader, look
        self._lock = threading.Lock()
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="shelf")
        self._engines: OrderedDict[str, Engine] = OrderedDict()  # the one used last comes last
        self._loading: dict[str, Future[Engine]] = {}
        self._progress: dict[str, str] = {}

    def offers(self) -> Sequence[Offer]:
        """The list as it is now; may take some seconds."""
        if self._look is None:
            return [Offer(name, name) for name in self.names]
        with self._lock:
            ready = tuple(self._engines)
        return self._look(ready)

    def loaded(self) -> tuple[Engine, ...]:
        """The models in memory."""
        with self._lock:
            return tuple(self._engines.values())

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
            if engine := self._engines.get(name):
                self._engines.move_to_end(name)
                ready: Future[Engine] = Future()
                ready.set_result(engine)
                return ready
            if name not in self._loading:
                self._progress[name] = f"Loading {name} …"
                self._loading[name] = self._worker.submit(self._load, name)
            return self._loading[name]

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
            engine = self._load_or_make_room(name, report)
            with self._lock:
                self._engines[name] = engine
            return engine
        except GreedyscopeError:
            raise
        except Exception as error:
            logging.getLogger(__name__).exception("loading %s failed", name)
            raise ModelError(f"{name} could not be loaded; the server's log says why. Try another model.") from error
        finally:
            with self._lock:
                self._loading.pop(name, None)

    def _load_or_make_room(self, name: str, report: Report) -> Engine:
        """Load a model; where it does not fit, let go of others, one after another, and try again."""
        while True:
            try:
                return self._loader(name, report)
            except RoomError:
                if not self._let_go():
                    raise

    def _let_go(self) -> bool:
        """Forget the model that was used longest ago, but neither the one used last nor one that somebody holds.
        Returns whether there was one.
        """
        with self._lock:
            gc.unfreeze()  # a quick import sets aside whatever is there: models too, where some are
            order = [*self._engines]
            for name in order[:-1]:
                held = weakref.ref(self._engines.pop(name))
                gc.collect()  # a model is full of circles
                if (engine := held()) is None:
                    return True
                self._engines[name] = engine  # still at work somewhere
                for later in order[order.index(name) + 1 :]:
                    self._engines.move_to_end(later)
            return False
