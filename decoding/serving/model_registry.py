"""The model registry: which models are in memory, and which may be loaded.

Owns loading in the background, one model at a time, its progress messages, and the cancellation of loads that nobody
waits for. Knows no torch: it is given a loader, so tests pass a fake one. `model_loader` finds memory for a model.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace

from decoding.cancellation import WorkCancelledError, raise_if_cancelled
from decoding.engines import Engine
from decoding.errors import AddressError, GreedyscopeError, ModelError, RequestError
from decoding.messages import Message, mapped
from decoding.requests.values import json_type_of
from decoding.serving.memory_budget import MemoryBudget
from decoding.serving.model_eviction import LoadedModels
from decoding.serving.model_list import ModelOffer, OfferLister
from decoding.serving.model_loader import Loader, ModelLoader, Report
from decoding.serving.path_redaction import redact_paths

__all__ = ["Loader", "ModelOffer", "ModelRegistry", "OfferLister", "Report"]

RETRY_SECONDS = 3.0
"""Between two attempts to reach the operator's vLLM server; an attempt itself may take five."""
_POLL_SECONDS = 0.2
_UNBOUNDED = 2**60


@dataclass(slots=True, eq=False)
class _Load:
    """A load that is under way or waits for another one."""

    future: Future[Engine]
    message: str
    waiting: int = 0
    """How many callers wait for it."""
    is_wanted_anyway: bool = False
    """Whether it goes on although nobody waits for it."""


class ModelRegistry:
    """The operator's models: visitors choose from `names`, of which the first is the default. Thread-safe.

    A model that somebody holds a reference to is in use and never evicted, so drop it as soon as you can.
    """

    def __init__(
        self,
        loader: Loader,
        names: Sequence[str],
        list_offers: OfferLister | None = None,
        *,
        memory: MemoryBudget | None = None,
        bytes_needed: Callable[[str], int] = lambda name: 0,
        resident_bytes: Callable[[], int] | None = None,
        is_remote: bool = False,
    ) -> None:
        """`memory` is the budget of models and requests; for `bytes_needed` and `resident_bytes` see `ModelLoader`.
        `is_remote`: a vLLM server computes the models.
        """
        self.names, self.is_remote = tuple(names), is_remote
        self.memory = memory or MemoryBudget(_UNBOUNDED)
        self._loader, self._list_offers, self._models = loader, list_offers, LoadedModels()
        self._model_loader = ModelLoader(
            loader, self._models, self.memory, bytes_needed=bytes_needed, resident_bytes=resident_bytes
        )
        self._lock = threading.Lock()
        self._one_at_a_time = threading.Lock()
        self._loading: dict[str, _Load] = {}
        self._current_load: _Load | None = None
        self._failures: dict[str, tuple[type, str]] = {}  # of each model's last load; an error itself keeps its frames

    def offers(self) -> Sequence[ModelOffer]:
        """The list of models as it is now; may take some seconds."""
        listed = self._list_offers or (lambda ready: [ModelOffer(name, name) for name in self.names])
        chats = {engine.info.id for engine in self.loaded() if engine.vocabulary.message_template is not None}
        offers = [self._with_failure(offer) for offer in listed(self._models.names())]
        return [replace(offer, has_chat_template=True) if offer.name in chats else offer for offer in offers]

    def _with_failure(self, offer: ModelOffer) -> ModelOffer:
        """The offer of a model whose files are here and could not be loaded says so. It may still be chosen, and is
        loaded again then.
        """
        shown = offer.label.parameters if isinstance(offer.label, Message) else {}
        kind, _ = self._failures.get(offer.name, (None, ""))
        if kind is not ModelError or shown.get("state") != Message("offer.on_disk"):  # there may be room later
            return offer
        return replace(offer, label=Message("offer.label", model=shown["model"], state=Message("offer.failed")))

    def loaded(self) -> tuple[Engine, ...]:
        """The models in memory."""
        return self._models.engines()

    def request(self, name: object) -> Future[Engine]:
        """Load a model in the background if it is not in memory, even if nobody waits. A failed load is tried again.

        Raises RequestError for a name that is not in the list. The future raises what the load raised.
        """
        load = self._join_load(name)
        load.is_wanted_anyway = True
        self._leave_load(load)
        return load.future

    def request_until_reachable(self, name: str) -> None:
        """As `request`, and again in the background for as long as no server answers at the operator's address, or no
        thread can be started.
        """

        def attempt() -> None:
            while True:
                with suppress(RuntimeError):
                    if not isinstance(self.request(name).exception(), AddressError):
                        return
                time.sleep(RETRY_SECONDS)

        threading.Thread(target=attempt, name="first model", daemon=True).start()

    def load_in_this_thread(self, name: str) -> None:
        """Load a model in the calling thread, before any visitor asks for it. Raises what the loader raises."""
        self._models.add(name, self._loader(name, lambda *_: None))

    def wait(self, name: object) -> Iterator[str]:
        """Wait for a model; yields its progress messages, each once. Raises what the load raised.

        A load for which nobody waits any more is cancelled at its next progress message.
        """
        load = self._join_load(name)
        shown = ""
        try:
            while not load.future.done():
                raise_if_cancelled()
                if (message := self._progress_message(str(name), load)) != shown:
                    yield (shown := message)
                try:
                    load.future.exception(timeout=_POLL_SECONDS)
                except TimeoutError:
                    continue
            load.future.result()
        finally:
            self._leave_load(load)

    def progress(self, name: str) -> str:
        """The current progress message of a load; "" if the model is not being loaded."""
        with self._lock:
            load = self._loading.get(name)
        return self._progress_message(name, load) if load else ""

    def engine(self, name: object) -> Engine:
        """The loaded model; waits for it. Raises what `request` and the load raise."""
        return self.request(name).result()

    def _join_load(self, name: object) -> _Load:
        """The load of a model, counting the caller as waiting for it. Starts one if there is none yet."""
        models = ", ".join(self.names)
        if not isinstance(name, str):
            raise RequestError(Message("model.no_text", type=json_type_of(name), models=models), field="model")
        if name not in self.names:
            raise RequestError(Message("model.not_offered", model=name[:80], models=models), field="model")
        with self._lock:
            if (engine := self._models.get(name)) and not engine.is_outdated:
                load = _Load(Future(), "")
                load.future.set_result(engine)
            elif name in self._loading:
                load = self._loading[name]
            else:
                load = _Load(Future(), Message("model.loading", model=name))
                self._start(name, load)  # before it is listed: it raises where no thread can be started
                self._loading[name] = load
            load.waiting += 1
            return load

    def _leave_load(self, load: _Load) -> None:
        with self._lock:
            load.waiting -= 1

    def _progress_message(self, name: str, load: _Load) -> str:
        first = self._current_load
        return Message("model.turn", model=name, word=first.message) if first and first is not load else load.message

    def _start(self, name: str, load: _Load) -> None:
        """Load in a thread that ends with the load.

        OpenMP keeps helper threads for each thread that ever computed. If there are more of both than cores, they sleep
        at every barrier, and a step takes 1.3 times as long.
        """

        def work() -> None:
            try:
                # The engine has no name here, and is set before the next load begins, which may evict unused models.
                with self._one_at_a_time:
                    self._current_load = load
                    try:
                        load.future.set_result(self._load(name, load))
                    finally:
                        self._current_load = None
            except BaseException as error:
                load.future.set_exception(error)

        threading.Thread(target=work, name=f"load {name}", daemon=True).start()

    def _load(self, name: str, load: _Load) -> Engine:
        def report(message: str, fraction: float | None) -> None:
            load.message = (
                message if fraction is None else Message("progress", message=message, share=f"{fraction:.0%}")
            )
            with self._lock:
                if not (load.waiting or load.is_wanted_anyway):
                    self._loading.pop(name)  # now, so that the next caller starts a new load
                    raise WorkCancelledError

        try:
            engine = self._model_loader.load(name, report)
            if self._failures.pop(name, None):
                logging.getLogger(__name__).info("loaded %s", name)
            return engine
        except GreedyscopeError as error:
            failure = type(error), str(error)
            if not (isinstance(error, AddressError) and self._failures.get(name) == failure):  # once for a server away
                logging.getLogger(__name__).warning("loading %s failed: %s", name, error, exc_info=error.__cause__)
            self._failures[name] = failure
            shown = mapped(lambda text: redact_paths(text, self.names), error.message)
            if isinstance(error, AddressError):  # its sentence names the address, which is not for visitors
                shown = Message("address.away")
            raise type(error)(shown, field=error.field) from error
        except Exception as error:
            logging.getLogger(__name__).exception("loading %s failed", name)
            self._failures[name] = ModelError, str(error)
            raise ModelError(Message("model.failed", model=name)) from error
        finally:
            with self._lock:
                if self._loading.get(name) is load:
                    del self._loading[name]
