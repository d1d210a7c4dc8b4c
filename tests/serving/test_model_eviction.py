"""The models in memory: which is let go for another, and what the list says of them."""

import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import decoding
from decoding.command_line.quick_imports import quick_imports
from decoding.engines.batching.engine import BatchedEngine
from decoding.errors import RoomError
from decoding.serving.model_registry import ModelOffer, ModelRegistry, Report
from tests.fakes import ScriptedEngine


class Crowded:
    """A machine with room for `room` models: a load beyond that is refused for lack of room."""

    def __init__(self, room: int) -> None:
        self.room, self.loads = room, list[str]()
        self.alive: list[weakref.ref[ScriptedEngine]] = []

    def __call__(self, name: str, report: Report) -> ScriptedEngine:
        self.loads.append(name)
        if len(self.here()) >= self.room:
            raise RoomError(f"{name} needs 2 GB of memory in float32, and 1 GB is free.")
        engine = ScriptedEngine(name=name)
        self.alive.append(weakref.ref(engine))
        return engine

    def here(self) -> list[str]:
        return [engine.info.id for engine in (held() for held in self.alive) if engine]


NAMES = ("one", "two", "three", "four")


def test_the_least_recently_used_model_is_evicted() -> None:
    machine = Crowded(3)
    registry = ModelRegistry(machine, NAMES)
    for name in ("one", "two", "three", "one", "four"):
        assert registry.engine(name).info.id == name
    assert sorted(machine.here()) == ["four", "one", "three"]  # "two" was used longest ago
    assert registry.engine("one").info.id == "one"
    assert machine.loads.count("one") == 1
    assert registry.engine("two").info.id == "two"  # what was let go is loaded again
    assert sorted(machine.here()) == ["four", "one", "two"]


def test_a_model_in_use_is_never_evicted() -> None:
    machine = Crowded(3)
    registry = ModelRegistry(machine, NAMES)
    run = decoding.greedy_search(registry.engine("one"), "Transformers are the", max_new_tokens=3, top_k=2)
    next(run)
    for name in ("two", "three", "four"):
        registry.engine(name)
    assert sorted(machine.here()) == ["four", "one", "three"]
    assert len(list(run)) == 2
    del run
    registry.engine("two")  # its work is done, and it is the one used longest ago
    assert sorted(machine.here()) == ["four", "three", "two"]


def test_the_model_used_last_stays_even_where_the_next_has_no_room() -> None:
    machine = Crowded(1)
    registry = ModelRegistry(machine, NAMES)
    registry.engine("one")
    with pytest.raises(RoomError, match=r"^two needs 2 GB of memory in float32, and 1 GB is free\.$"):
        registry.engine("two")
    assert machine.here() == ["one"]
    assert registry.engine("one").info.id == "one"
    assert machine.loads == ["one", "two"]


def test_where_all_are_at_work_the_next_is_refused_and_the_order_stays() -> None:
    machine = Crowded(3)
    registry = ModelRegistry(machine, NAMES)
    one, two = registry.engine("one"), registry.engine("two")
    registry.engine("three")
    with pytest.raises(RoomError):
        registry.engine("four")
    del one, two
    registry.engine("four")
    assert sorted(machine.here()) == ["four", "three", "two"]


def test_a_real_model_leaves_the_memory(tiny_folder: Callable[[str], Path]) -> None:
    """After a run, a branch and a score, with all that they leave behind, as the page holds it."""
    weights: list[weakref.ref[Any]] = []

    def loader(name: str, report: Report) -> BatchedEngine:
        if name == "three" and weights[0]() is not None:
            raise RoomError("no room")
        with quick_imports():  # as the page's own loader does
            engine = BatchedEngine(decoding.load(str(tiny_folder("llama")), device="cpu"))
        assert engine.reference
        weights.append(weakref.ref(engine.reference().get_input_embeddings().weight))
        return engine

    registry = ModelRegistry(loader, NAMES)
    trace = decoding.trace(registry.engine("one"), "Transformers", max_new_tokens=4, top_k=3)
    decoding.branch(registry.engine("one"), trace, 1, trace.steps[1].candidates[1].token_id, max_new_tokens=4)
    decoding.score(registry.engine("one"), "Transformers", " are", top_k=3)
    registry.engine("two")
    registry.engine("three")
    assert [held() is None for held in weights] == [True, False, False]


def test_the_offers_depend_on_the_models_in_memory() -> None:
    seen: list[tuple[str, ...]] = []

    def look(ready: Sequence[str]) -> list[ModelOffer]:
        seen.append(tuple(ready))
        return [ModelOffer(name, f"{name} · ready" if name in ready else f"{name} — no network", "") for name in NAMES]

    registry = ModelRegistry(Crowded(3), NAMES, look)
    registry.engine("two")
    assert [offer.label for offer in registry.offers()][:2] == ["one — no network", "two · ready"]
    assert seen == [("two",)]


def test_without_a_lister_the_offers_are_the_names() -> None:
    assert ModelRegistry(Crowded(1), ["one"]).offers() == [ModelOffer("one", "one")]
