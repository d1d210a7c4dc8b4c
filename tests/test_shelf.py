"""The models in memory: word of progress, one load at a time, and what a load that fails leaves behind."""

import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest

from decoding.errors import ModelError, RequestError
from decoding.shelf import Report, Shelf
from tests.fakes import ScriptedEngine

PATIENCE = 30.0  # seconds after which a test that hangs fails


class Loader:
    """Loads when it is let, one answer after another; counts how many loads are going on."""

    def __init__(self, *answers: Exception | None) -> None:
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
    shelf = Shelf(loader, ["one", "two"])
    assert shelf.names == ("one", "two")
    assert loader.asked == []


def test_word_of_progress_each_once() -> None:
    loader = Loader()
    shelf = Shelf(loader, ["one"])
    words = shelf.wait("one")
    assert next(words) == "Loading one …"
    began(loader)
    loader.say("Fetching", None)
    assert next(words) == "Fetching"
    loader.say("Fetching", 0.25)
    assert next(words) == "Fetching (25%)"
    loader.say("Fetching", 0.25)
    loader.go_on.release()
    assert list(words) == []
    assert shelf.engine("one").info.id == "one"
    assert list(shelf.wait("one")) == []
    assert loader.asked == ["one"]


def test_whoever_asks_meanwhile_shares_the_load() -> None:
    loader = Loader()
    shelf = Shelf(loader, ["one"])
    first = shelf.request("one")
    began(loader)
    assert shelf.request("one") is first
    loader.go_on.release()
    assert shelf.engine("one") is first.result(PATIENCE) is shelf.engine("one")
    assert loader.asked == ["one"]


def test_one_load_at_a_time() -> None:
    loader = Loader()
    shelf = Shelf(loader, ["one", "two", "three"])
    futures = [shelf.request(name) for name in shelf.names]
    for _ in futures:
        began(loader)
        loader.go_on.release()
    assert [future.result(PATIENCE).info.id for future in futures] == ["one", "two", "three"]
    assert loader.most == 1


def test_a_failed_load_is_tried_again() -> None:
    loader = Loader(ModelError("The disk is full."), None)
    shelf = Shelf(loader, ["one"])
    loader.go_on.release()
    with pytest.raises(ModelError, match=r"^The disk is full\.$"):
        list(shelf.wait("one"))
    loader.go_on.release()
    assert shelf.engine("one").info.id == "one"
    assert loader.asked == ["one", "one"]


def test_what_nobody_foresaw_becomes_a_sentence(caplog: pytest.LogCaptureFixture) -> None:
    loader = Loader(RuntimeError("CUDA error: secret address 0xdeadbeef"))
    loader.go_on.release()
    with caplog.at_level(logging.ERROR), pytest.raises(ModelError) as refused:
        Shelf(loader, ["one"]).engine("one")
    assert str(refused.value) == "one could not be loaded; the server's log says why. Try another model."
    assert refused.value.field == "model"
    assert "0xdeadbeef" in caplog.text


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("three", "three"),
        ("", ""),
        (None, "None"),
        (["one"], "['one']"),
        ("<b>", "<b>"),
        ("x" * 999, "x" * 80),
        ("ONE", "ONE"),
    ],
)
def test_a_name_that_is_not_on_the_list(name: Any, shown: str) -> None:
    loader = Loader()
    shelf = Shelf(loader, ["one", "two"])
    for ask in (shelf.request, shelf.engine, lambda name: list(shelf.wait(name))):
        with pytest.raises(RequestError) as refused:
            ask(name)
        assert str(refused.value) == f'The model "{shown}" is not offered here. Choose one of: one, two.'
        assert refused.value.field == "model"
    assert loader.asked == []
