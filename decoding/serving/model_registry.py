"""The models that are in memory, and the ones that may be.

Owns loading in the background, one at a time, with word of its progress, giving up what nobody waits for any more, and
letting go of what another needs the room of. Knows no torch: it is given a loader, so that tests give it a fake.
"""

import gc
import logging
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from decoding.cancellation import LeftError, check_left
from decoding.engines import Engine
from decoding.errors import GreedyscopeError, ModelError, RequestError, RoomError
from decoding.models.catalogue import size
from decoding.models.resources import DID_NOT_FIT, is_out_of_memory
from decoding.serving.memory_budget import MemoryBudget, Reservation
from decoding.serving.offers import Look, Offer
from decoding.serving.sentences import without_paths

__all__ = ["Loader", "Look", "Offer", "Report", "Shelf"]

Report = Callable[[str, float | None], None]
Loader = Callable[[str, Report], Engine]

_POLL_SECONDS = 0.2
_UNBOUNDED = 2**60


@dataclass(slots=True, eq=False)
class _Load:
    """A load that goes on, or is next."""

    future: Future[Engine]
    word: str
    waiting: int = 0
    """How many wait for it."""
    goes_on: bool = False
    """Whether it does so where nobody waits."""


class Shelf:
    """The operator's list of models: visitors choose from `names`, and the first is the one to begin with.

    A model that somebody holds is in use, and is never let go: hold an engine for as long as you need it, and no
    longer.
    """

    def __init__(
        self,
        loader: Loader,
        names: Sequence[str],
        look: Look | None = None,
        *,
        memory: MemoryBudget | None = None,
        needs: Callable[[str], int] = lambda name: 0,
        measure: Callable[[], int] | None = None,
    ) -> None:
        """`memory` is what models and requests take from, `needs` how much of it a model will take, and `measure` what
        the process takes now.
        """
        self.names = tuple(names)
        self.memory = memory or MemoryBudget(_UNBOUNDED)
        self._loader, self._look, self._needs, self._measure = loader, look, needs, measure
        self._parts: dict[str, Reservation] = {}
        self._lock = threading.Lock()
        self._one_at_a_time = threading.Lock()
        self._engines: OrderedDict[str, Engine] = OrderedDict()  # the one used last comes last
        self._loading: dict[str, _Load] = {}
        self._under_way: _Load | None = None

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
        """Have a model loaded, if it is not yet, whoever waits. A load that failed is tried again. Raises RequestError
        for a name that is not on the list.
        """
        load = self._join(name)
        load.goes_on = True
        self._leave(load)
        return load.future

    def load_here(self, name: str) -> None:
        """Load a model in this thread, before anybody asks for it. Raises what the loader raises."""
        engine = self._loader(name, lambda *_: None)
        with self._lock:
            self._engines[name] = engine

    def wait(self, name: object) -> Iterator[str]:
        """Word of a load while it goes on, each sentence once; ends when the model is ready. Raises what the load
        raised.

        Where nobody waits any more, a load is given up at its next word of progress.
        """
        load = self._join(name)
        said = ""
        try:
            while not load.future.done():
                check_left()
                if (word := self._word(str(name), load)) != said:
                    yield (said := word)
                try:
                    load.future.exception(timeout=_POLL_SECONDS)
                except TimeoutError:
                    continue
            load.future.result()
        finally:
            self._leave(load)

    def word(self, name: str) -> str:
        """How far a load is; "" where there is none."""
        with self._lock:
            load = self._loading.get(name)
        return self._word(name, load) if load else ""

    def engine(self, name: object) -> Engine:
        """The model, loaded; waits for it."""
        return self.request(name).result()

    def _join(self, name: object) -> _Load:
        """A model's load, with one more who waits for it; it begins where there is none yet."""
        if not isinstance(name, str) or name not in self.names:
            named = name[:80] if isinstance(name, str) else ""
            raise RequestError(
                f'The model "{named}" is not offered here. Choose one of: {", ".join(self.names)}.',
                field="model",
            )
        with self._lock:
            if engine := self._engines.get(name):
                self._engines.move_to_end(name)
                load = _Load(Future(), "")
                load.future.set_result(engine)
            elif name in self._loading:
                load = self._loading[name]
            else:
                load = self._loading[name] = _Load(Future(), f"Loading {name} …")
                self._start(name, load)
            load.waiting += 1
            return load

    def _leave(self, load: _Load) -> None:
        with self._lock:
            load.waiting -= 1

    def _word(self, name: str, load: _Load) -> str:
        first = self._under_way
        return f"{name} waits for another model. {first.word}" if first and first is not load else load.word

    def _start(self, name: str, load: _Load) -> None:
        """Load in a thread that ends with the load. OpenMP keeps helper threads for each thread that ever computed, and
        where there are more of both than cores they sleep at every meeting point: a step then takes 1.3 times as long.
        """

        def work() -> None:
            try:
                # By no name, and before the next load: that one may let go of what nobody holds any more.
                with self._one_at_a_time:
                    self._under_way = load
                    try:
                        load.future.set_result(self._load(name, load))
                    finally:
                        self._under_way = None
            except BaseException as error:
                load.future.set_exception(error)

        threading.Thread(target=work, name=f"load {name}", daemon=True).start()

    def _load(self, name: str, load: _Load) -> Engine:
        def report(message: str, fraction: float | None) -> None:
            load.word = message if fraction is None else f"{message} ({fraction:.0%})"
            with self._lock:
                if not (load.waiting or load.goes_on):
                    self._loading.pop(name)  # now: whoever comes from here on begins anew
                    raise LeftError

        try:
            engine = self._load_or_make_room(name, report)
            with self._lock:
                self._engines[name] = engine
            return engine
        except GreedyscopeError as error:
            logging.getLogger(__name__).warning("loading %s failed: %s", name, error, exc_info=error.__cause__)
            raise type(error)(without_paths(str(error), self.names), field=error.field) from error
        except Exception as error:
            logging.getLogger(__name__).exception("loading %s failed", name)
            raise ModelError(f"{name} could not be loaded; the server's log says why. Try another model.") from error
        finally:
            with self._lock:
                if self._loading.get(name) is load:
                    del self._loading[name]

    def _load_or_make_room(self, name: str, report: Report) -> Engine:
        """Load a model; where it does not fit, let go of others, one after another, and try again."""
        while True:
            try:
                return self._load_within_budget(name, report)
            except RoomError:
                if not self._let_go():
                    raise
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                if not self._let_go():
                    raise RoomError(DID_NOT_FIT.format(model=name)) from error

    def _load_within_budget(self, name: str, report: Report) -> Engine:
        """Load a model into memory that was taken before. Raises RoomError where there is none."""
        foreseen, before = self._needs(name), self._measure() if self._measure else 0
        part = self.memory.take_for_model(foreseen)
        if part is None:
            raise RoomError(
                f"{name} needs {size(foreseen)} of memory, and {size(self.memory.for_requests)} of the server's "
                f"{size(self.memory.total)} is free. Choose a smaller model."
            )
        try:
            engine = self._loader(name, report)
        except BaseException:
            part.release()
            raise
        if self._measure and self.memory.is_idle:  # then the process has grown by this model alone
            grown = max(0, self._measure() - before)
            part.resize(min(grown, foreseen) if foreseen else grown)
            self.memory.settle(self._measure())
        self._parts[name] = part
        return engine

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
                    if part := self._parts.pop(name, None):
                        part.release()
                    return True
                self._engines[name] = engine  # still at work somewhere
                for later in order[order.index(name) + 1 :]:
                    self._engines.move_to_end(later)
            return False
