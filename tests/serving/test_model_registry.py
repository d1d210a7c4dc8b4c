"""The models that may be loaded: word of progress, one load at a time, and what a load that fails leaves behind."""

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from decoding.cancellation import WorkCancelledError, bind
from decoding.errors import AddressError, ModelError, RequestError, RoomError
from decoding.messages import Message
from decoding.serving import model_registry
from decoding.serving.model_registry import ModelOffer, ModelRegistry, Report
from tests.fakes import ScriptedEngine
from tests.machines import refused_threads

PATIENCE = 300.0  # seconds after which a test that hangs fails


class Loader:
    """Loads when it is let, one answer after another; counts how many loads are going on."""

    def __init__(self, *answers: BaseException | None) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []
        self.going, self.most = 0, 0
        self.entered, self.go_on = threading.Semaphore(0), threading.Semaphore(0)
        self.say: Callable[[str, float | None], None] = lambda *_: None

    def __call__(self, name: str, report: Report) -> ScriptedEngine:
        self.asked.append(name)
        self.going += 1
        self.most = max(self.most, self.going)
        self.say = report
        self.entered.release()
        assert self.go_on.acquire(timeout=PATIENCE)
        self.going -= 1
        if self.answers and (error := self.answers.pop(0)):
            raise error
        return ScriptedEngine(name=name)


def began(loader: Loader) -> None:
    assert loader.entered.acquire(timeout=PATIENCE)


def test_nothing_is_loaded_before_it_is_asked_for() -> None:
    loader = Loader()
    registry = ModelRegistry(loader, ["one", "two"])
    assert registry.names == ("one", "two")
    assert loader.asked == []


def test_a_server_that_is_not_up_yet_is_asked_again_and_named_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(model_registry, "RETRY_SECONDS", 0.0)
    caplog.set_level(logging.INFO, logger="decoding")
    loader = Loader(*[AddressError("No vLLM server answers at http://10.0.0.7:8000.")] * 2)
    registry = ModelRegistry(loader, ["one"])
    registry.request_until_reachable("one")
    began(loader)
    waiting = registry.request("one")
    loader.go_on.release()
    with pytest.raises(AddressError, match=r"^The model's server cannot be reached"):  # without the address
        waiting.result(PATIENCE)
    for _ in range(2):
        began(loader)
        loader.go_on.release()
    registry.engine("one")
    assert len(loader.asked) == 3
    assert [record.getMessage() for record in caplog.records] == [
        "loading one failed: No vLLM server answers at http://10.0.0.7:8000.",
        "loaded one",
    ]


def test_only_a_server_that_cannot_be_reached_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_registry, "RETRY_SECONDS", 0.0)
    loader = Loader(ModelError("one is damaged."))
    registry = ModelRegistry(loader, ["one"])
    registry.request_until_reachable("one")
    began(loader)
    loader.go_on.release()
    assert not loader.entered.acquire(timeout=0.2)


def test_a_server_is_asked_again_where_no_thread_could_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_registry, "RETRY_SECONDS", 0.01)
    loader = Loader()
    loader.go_on.release()
    registry = ModelRegistry(loader, ["one"])
    with refused_threads("load one"):
        registry.request_until_reachable("one")
        assert not loader.entered.acquire(timeout=0.2)
    began(loader)
    assert registry.engine("one").info.id == "one"


def test_an_outdated_engine_is_loaded_again() -> None:
    loader = Loader()
    registry = ModelRegistry(loader, ["one"])
    loader.go_on.release(2)
    first = registry.engine("one")
    assert registry.engine("one") is first
    first.is_outdated = True  # type: ignore[misc]
    second = registry.engine("one")
    assert second is not first
    assert registry.loaded() == (second,)


def test_a_model_may_be_loaded_in_the_thread_that_asks() -> None:
    """Where a GPU is lent, no other thread has it."""
    threads: list[threading.Thread] = []

    def loader(name: str, report: Report) -> ScriptedEngine:
        threads.append(threading.current_thread())
        if name == "two":
            raise ModelError("two is damaged.")
        return ScriptedEngine(name=name)

    registry = ModelRegistry(loader, ["one", "two"])
    registry.load_in_this_thread("one")
    with pytest.raises(ModelError, match=r"^two is damaged\.$"):
        registry.load_in_this_thread("two")
    assert threads == [threading.current_thread()] * 2
    assert registry.engine("one") is registry.loaded()[0]
    assert len(threads) == 2


def test_the_thread_of_a_load_ends_with_it() -> None:
    """One that stayed would keep OpenMP's helpers of its own, and every step of the batch's would wait for them."""
    threads: list[threading.Thread] = []

    def load(name: str, _: Report) -> ScriptedEngine:
        threads.append(threading.current_thread())
        return ScriptedEngine(name=name)

    registry = ModelRegistry(load, ["one", "two"])
    for name in registry.names:
        registry.request(name).result(PATIENCE)
    for thread in threads:
        thread.join(PATIENCE)
    assert len(threads) == 2
    assert not any(thread.is_alive() for thread in threads)


def test_each_progress_message_comes_once() -> None:
    loader = Loader()
    registry = ModelRegistry(loader, ["one"])
    words = registry.wait("one")
    assert next(words) == "Loading one …"
    began(loader)
    loader.say("Fetching", None)
    assert next(words) == "Fetching"
    loader.say("Fetching", 0.25)
    assert next(words) == "Fetching (25%)"
    loader.say("Fetching", 0.25)
    loader.go_on.release()
    assert list(words) == []
    assert registry.engine("one").info.id == "one"
    assert list(registry.wait("one")) == []
    assert loader.asked == ["one"]


def test_concurrent_callers_share_a_load() -> None:
    loader = Loader()
    registry = ModelRegistry(loader, ["one"])
    first = registry.request("one")
    began(loader)
    assert registry.request("one") is first
    loader.go_on.release()
    assert registry.engine("one") is first.result(PATIENCE) is registry.engine("one")
    assert loader.asked == ["one"]


def test_one_load_at_a_time() -> None:
    loader = Loader()
    registry = ModelRegistry(loader, ["one", "two", "three"])
    futures = [registry.request(name) for name in registry.names]
    for _ in futures:
        began(loader)
        loader.go_on.release()
    assert [future.result(PATIENCE).info.id for future in futures] == ["one", "two", "three"]
    assert loader.most == 1


def test_a_waiting_load_reports_the_current_one() -> None:
    loader = Loader()
    registry = ModelRegistry(loader, ["one", "two"])
    one, two = registry.wait("one"), registry.wait("two")
    next(one)
    began(loader)
    loader.say("Fetching one: 1 of 4 MB", 0.25)
    assert next(two) == "two waits for another model. Fetching one: 1 of 4 MB (25%)"
    assert next(one) == "Fetching one: 1 of 4 MB (25%)"
    loader.go_on.release()
    assert list(one) == []
    began(loader)
    assert next(two) == "Loading two …"
    loader.go_on.release()
    assert list(two) == []


def test_a_load_without_waiters_is_cancelled(caplog: pytest.LogCaptureFixture) -> None:
    loader = Loader(WorkCancelledError(), None)
    registry = ModelRegistry(loader, ["one"])
    first, second = registry.wait("one"), registry.wait("one")
    assert next(first) == next(second) == "Loading one …"
    began(loader)
    first.close()
    loader.say("Fetching", 0.5)  # the other still waits
    second.close()
    with pytest.raises(WorkCancelledError):
        loader.say("Fetching", 0.75)
    again = registry.wait("one")  # before the first has ended
    assert next(again) == "one waits for another model. Fetching (75%)"
    loader.go_on.release()
    began(loader)
    loader.go_on.release()
    assert [word for word in again if word != "Loading one …"] == []
    assert registry.engine("one").info.id == "one"
    assert (loader.asked, loader.most) == (["one", "one"], 1)
    assert caplog.text == ""  # nothing went wrong


def test_a_requested_load_goes_on_without_waiters() -> None:
    """As the first model, which is there before anybody comes."""
    loader = Loader()
    registry = ModelRegistry(loader, ["one"])
    words = registry.wait("one")
    next(words)
    began(loader)
    future = registry.request("one")
    words.close()
    loader.say("Fetching", 0.5)
    loader.go_on.release()
    assert future.result(PATIENCE).info.id == "one"


def test_a_cancelled_visitor_stops_waiting() -> None:
    """A visitor's run is in a thread of its own, which is told that they have gone, also while a network is silent."""
    loader = Loader(WorkCancelledError())
    registry = ModelRegistry(loader, ["one"])
    left = threading.Event()

    def wait() -> None:
        bind(left)
        with suppress(WorkCancelledError):
            list(registry.wait("one"))

    visitor = threading.Thread(target=wait)
    visitor.start()
    began(loader)
    left.set()
    visitor.join(PATIENCE)
    assert not visitor.is_alive()
    with pytest.raises(WorkCancelledError):
        loader.say("Fetching", 0.5)
    loader.go_on.release()


def test_a_failed_load_is_tried_again_and_logged_each_time(caplog: pytest.LogCaptureFixture) -> None:
    loader = Loader(ModelError("The disk is full."), ModelError("The disk is full."), None)
    registry = ModelRegistry(loader, ["one"])
    loader.go_on.release(3)
    for count in (1, 2):
        with pytest.raises(ModelError, match=r"^The disk is full\.$"):
            list(registry.wait("one"))
        assert caplog.messages == ["loading one failed: The disk is full."] * count
    assert registry.engine("one").info.id == "one"
    assert loader.asked == ["one"] * 3


def test_the_list_says_of_a_model_that_it_could_not_be_loaded() -> None:
    """The first model is loaded when the server starts: a damaged one is not "on disk" until somebody presses Run."""
    full, damaged = RoomError("It is too large."), ModelError("It is damaged.")
    loader = Loader(full, damaged, ModelError("It broke off."), full, RuntimeError("a bug"), None)
    loader.go_on.release(6)
    states = {"a": "offer.on_disk", "b": "offer.to_fetch", "c": "offer.on_disk"}
    listed = [ModelOffer(n, Message("offer.label", model=f"{n} · 2 M", state=Message(s))) for n, s in states.items()]
    registry = ModelRegistry(loader, [*states], lambda ready: listed)
    with pytest.raises(RoomError):
        registry.engine("a")  # there may be room later
    assert [*registry.offers()] == listed
    for name in ("a", "b"):
        with pytest.raises(ModelError):
            registry.engine(name)
    assert [offer.label for offer in registry.offers()] == [
        "a · 2 M · could not be loaded",
        *(o.label for o in listed[1:]),
    ]
    assert not any(offer.why_not for offer in registry.offers())
    with pytest.raises(RoomError):
        registry.engine("a")
    assert [*registry.offers()] == listed
    with pytest.raises(ModelError):
        registry.engine("a")
    assert registry.offers()[0].label == "a · 2 M · could not be loaded"
    registry.engine("a")
    assert [*registry.offers()] == listed


def test_an_unexpected_error_becomes_a_sentence(caplog: pytest.LogCaptureFixture) -> None:
    loader = Loader(RuntimeError("CUDA error: secret address 0xdeadbeef"))
    loader.go_on.release()
    with caplog.at_level(logging.ERROR), pytest.raises(ModelError) as refused:
        ModelRegistry(loader, ["one"]).engine("one")
    assert str(refused.value) == "one could not be loaded; the server's log says why. Try another model."
    assert refused.value.field == "model"
    assert "0xdeadbeef" in caplog.text


@pytest.mark.parametrize(
    ("name", "kind"),
    [(None, "nothing"), (["one"], "a list"), (7, "a number"), (True, "true or false"), ({}, "an object")],
)
def test_a_name_that_is_no_text(name: Any, kind: str) -> None:
    registry = ModelRegistry(Loader(), ["one", "two"])
    with pytest.raises(RequestError) as refused:
        registry.request(name)
    assert str(refused.value) == f"The model's name has to be text, not {kind}. Choose one of: one, two."
    assert refused.value.field == "model"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("three", "three"),
        ("", ""),
        ("<b>", "<b>"),
        ("x" * 999, "x" * 80),
        ("ONE", "ONE"),
    ],
)
def test_a_name_that_is_not_on_the_list(name: Any, shown: str) -> None:
    loader = Loader()
    registry = ModelRegistry(loader, ["one", "two"])
    for ask in (registry.request, registry.engine, lambda name: list(registry.wait(name))):
        with pytest.raises(RequestError) as refused:
            ask(name)
        assert str(refused.value) == f'The model "{shown}" is not offered here. Choose one of: one, two.'
        assert refused.value.field == "model"
    assert loader.asked == []


def test_a_load_whose_thread_cannot_be_started_is_tried_again() -> None:
    loader = Loader()
    registry = ModelRegistry(loader, ["one"])
    with refused_threads("load one"), pytest.raises(RuntimeError, match="can't start new thread"):
        registry.request("one")
    loader.go_on.release()
    assert registry.request("one").result(PATIENCE).info.id == "one"
