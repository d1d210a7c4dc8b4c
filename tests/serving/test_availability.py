"""The list that people choose from: each model with its size and where it is, or with the reason why not."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest

from decoding.models import hub, starter
from decoding.models.catalogue import CATALOGUE, Entry
from decoding.serving import availability
from decoding.serving.availability import local_offers
from decoding.serving.model_registry import ModelOffer

GB = 1_000_000_000
HUB = Entry("tiny", "org/tiny", "", 2_000_000, 8_000_000)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    has = SimpleNamespace(memory=16 * GB, disk=100 * GB, network=True, cached=set(), asked=0)

    def is_reachable() -> bool:
        has.asked += 1
        return bool(has.network)

    monkeypatch.setattr(availability, "total_memory", lambda: has.memory)
    monkeypatch.setattr(availability, "free_disk", lambda _: has.disk)
    monkeypatch.setattr(hub, "is_reachable", is_reachable)
    monkeypatch.setattr(hub, "cached", lambda entry: Path("/") if entry.name in has.cached else None)
    monkeypatch.setattr(starter, "is_cached", lambda: "starter" in has.cached)
    return has


def label(entry: Entry, *ready: str, dtype: str = "auto") -> str:
    (offer,) = local_offers([entry], dtype=dtype)(ready)
    assert offer.name == entry.name
    assert bool(offer.why_not) == (" — " in offer.label)  # page.css greys by the dash
    return offer.label


def test_where_a_model_is(machine: Any):
    assert label(CATALOGUE["gpt2-xl"]) == "gpt2-xl · 1.56 B · 6.4 GB to fetch"
    assert label(Entry("org/x", "org/x")) == "org/x · to be fetched"
    machine.cached |= {"gpt2-xl"}
    assert label(CATALOGUE["gpt2-xl"]) == "gpt2-xl · 1.56 B · on disk"
    assert label(CATALOGUE["gpt2-xl"], "starter", "gpt2-xl") == "gpt2-xl · 1.56 B · ready"
    assert label(Entry("./folder")) == "./folder · on disk"


def test_without_network_missing_models_are_unavailable(machine: Any):
    machine.network = False
    assert label(CATALOGUE["gpt2"]) == "gpt2 — not on disk, and no network"
    assert label(CATALOGUE["gpt2"], "gpt2") == "gpt2 · 124 M · ready"
    machine.cached |= {"gpt2"}
    assert label(CATALOGUE["gpt2"]) == "gpt2 · 124 M · on disk"
    assert label(CATALOGUE["starter"]) == "starter · 135 M · 93 MB to fetch"  # from the package index


def test_a_model_that_is_too_large_names_both_numbers(machine: Any):
    machine.memory = 3 * GB
    assert label(CATALOGUE["gpt2-xl"]) == "gpt2-xl — needs 3.9 GB of memory, there is 3.0 GB"
    assert label(CATALOGUE["gpt2-large"]) == "gpt2-large · 774 M · 3.2 GB to fetch"  # in bfloat16
    assert label(CATALOGUE["gpt2-large"], dtype="float32") == "gpt2-large — needs 3.9 GB of memory, there is 3.0 GB"
    machine.disk = GB
    assert label(CATALOGUE["gpt2-large"]) == "gpt2-large — needs 3.2 GB of disk, 1.0 GB is free"
    machine.cached |= {"gpt2-large"}
    assert label(CATALOGUE["gpt2-large"]) == "gpt2-large · 774 M · on disk"


def test_models_outside_the_catalogue_show_the_hubs_figures(machine: Any, monkeypatch: pytest.MonkeyPatch):
    entry = Entry("org/x", "org/x")
    monkeypatch.setitem(hub._known_sizes, ("org/x", "", ""), (1_557_611_200, 6 * GB))
    assert label(entry) == "org/x · 1.56 B · 6.0 GB to fetch"
    machine.memory = 3 * GB
    assert label(entry) == "org/x — needs 3.9 GB of memory, there is 3.0 GB"
    assert label(Entry("org/x", "org/x", "v1")) == "org/x · to be fetched"  # another commit


def test_the_network_is_asked_rarely_and_not_for_local_models(machine: Any, monkeypatch: pytest.MonkeyPatch):
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(availability.time, "monotonic", lambda: clock.now)
    machine.cached |= {"here"}
    look: Callable[..., Any] = local_offers([Entry("here", "org/here"), HUB, HUB], dtype="auto")
    machine.network = False
    assert [offer.why_not for offer in look(())] == ["", *["not on disk, and no network"] * 2]
    machine.network = True
    look(())
    assert machine.asked == 1
    clock.now += 20
    assert look(())[1] == ModelOffer("tiny", "tiny · 2 M · 8 MB to fetch")
    assert machine.asked == 2
    local_offers([Entry("here", "org/here"), HUB], dtype="auto")(("tiny",))
    assert machine.asked == 2


def test_the_hub_is_asked_three_times_a_minute_however_many_pages_are_opened(
    machine: Any, monkeypatch: pytest.MonkeyPatch
):
    """decoding/page/http/README.md, “What a stranger cannot do”."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(availability.time, "monotonic", lambda: clock.now)
    look: Callable[..., Any] = local_offers([HUB], dtype="auto")
    for _ in range(600):  # ten pages a second, for a minute
        look(())
        clock.now += 0.1
    assert machine.asked <= 3


def test_while_the_hub_is_asked_others_get_the_previous_answer(machine: Any, monkeypatch: pytest.MonkeyPatch):
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(availability.time, "monotonic", lambda: clock.now)
    look: Callable[..., Any] = local_offers([HUB], dtype="auto")
    look(())
    asked, goes_on = Event(), Event()
    monkeypatch.setattr(hub, "is_reachable", lambda: asked.set() or goes_on.wait(60))
    clock.now += 30
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(look, ())
        try:
            assert asked.wait(60)
            told = pool.submit(look, ()).result(20)  # at once
            assert told[0].why_not == ""
        finally:
            goes_on.set()
        slow.result(60)
