"""The list that people choose from: each model with its size and where it is, or with the reason why not."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest

from decoding.models.catalogue import CATALOGUE, Entry
from decoding.models.known_sizes import record_size
from decoding.serving.availability import Machine, local_offers
from decoding.serving.model_registry import ModelOffer

GB = 1_000_000_000
HUB = Entry("tiny", "org/tiny", "", 2_000_000, 8_000_000)


class Fake:
    """A machine of 16 GB of memory with a network, whose clock stands still."""

    def __init__(self) -> None:
        self.memory, self.disk = 16 * GB, 100 * GB
        self.has_network, self.asked, self.now = True, 0, 1000.0
        self.on_disk: set[str] = set()

    def is_hub_reachable(self) -> bool:
        self.asked += 1
        return self.has_network

    def as_machine(self) -> Machine:
        return Machine(
            lambda: self.memory,
            lambda _: self.disk,
            lambda entry: entry.name in self.on_disk or not (entry.repository or entry.name == "starter"),
            lambda: self.is_hub_reachable(),
            lambda: self.now,
        )

    def offers(self, *entries: Entry) -> Callable[..., Any]:
        return local_offers(entries, dtype="auto", machine=self.as_machine())

    def label(self, entry: Entry, *ready: str, dtype: str = "auto") -> str:
        (offer,) = local_offers([entry], dtype=dtype, machine=self.as_machine())(ready)
        assert offer.name == entry.name
        assert bool(offer.why_not) == (" — " in offer.label)  # page.css greys by the dash
        return offer.label


@pytest.fixture
def machine() -> Fake:
    return Fake()


def test_where_a_model_is(machine: Fake):
    assert machine.label(CATALOGUE["gpt2-xl"]) == "gpt2-xl · 1.56 B · 6.4 GB to fetch"
    assert machine.label(Entry("org/x", "org/x")) == "org/x · to be fetched"
    machine.on_disk |= {"gpt2-xl"}
    assert machine.label(CATALOGUE["gpt2-xl"]) == "gpt2-xl · 1.56 B · on disk"
    assert machine.label(CATALOGUE["gpt2-xl"], "starter", "gpt2-xl") == "gpt2-xl · 1.56 B · ready"
    assert machine.label(Entry("./folder")) == "./folder · on disk"


def test_without_network_missing_models_are_unavailable(machine: Fake):
    machine.has_network = False
    assert machine.label(CATALOGUE["gpt2"]) == "gpt2 — not on disk, and no network"
    assert machine.label(CATALOGUE["gpt2"], "gpt2") == "gpt2 · 124 M · ready"
    machine.on_disk |= {"gpt2"}
    assert machine.label(CATALOGUE["gpt2"]) == "gpt2 · 124 M · on disk"
    assert machine.label(CATALOGUE["starter"]) == "starter · 135 M · 93 MB to fetch"  # from the package index


def test_a_model_that_is_too_large_names_both_numbers(machine: Fake):
    machine.memory = 3 * GB
    assert machine.label(CATALOGUE["gpt2-xl"]) == "gpt2-xl — needs 3.9 GB of memory, there is 3.0 GB"
    assert machine.label(CATALOGUE["gpt2-large"]) == "gpt2-large · 774 M · 3.2 GB to fetch"  # in bfloat16
    in_float32 = machine.label(CATALOGUE["gpt2-large"], dtype="float32")
    assert in_float32 == "gpt2-large — needs 3.9 GB of memory, there is 3.0 GB"
    machine.disk = GB
    assert machine.label(CATALOGUE["gpt2-large"]) == "gpt2-large — needs 3.2 GB of disk, 1.0 GB is free"
    machine.on_disk |= {"gpt2-large"}
    assert machine.label(CATALOGUE["gpt2-large"]) == "gpt2-large · 774 M · on disk"


def test_models_outside_the_catalogue_show_the_hubs_figures(machine: Fake):
    entry = Entry("org/y", "org/y")
    record_size(entry, parameters=1_557_611_200, download_bytes=6 * GB)
    assert machine.label(entry) == "org/y · 1.56 B · 6.0 GB to fetch"
    machine.memory = 3 * GB
    assert machine.label(entry) == "org/y — needs 3.9 GB of memory, there is 3.0 GB"
    assert machine.label(Entry("org/y", "org/y", "v1")) == "org/y · to be fetched"  # another commit


def test_the_network_is_asked_rarely_and_not_for_local_models(machine: Fake):
    machine.on_disk |= {"here"}
    look = machine.offers(Entry("here", "org/here"), HUB, HUB)
    machine.has_network = False
    assert [offer.why_not for offer in look(())] == ["", *["not on disk, and no network"] * 2]
    machine.has_network = True
    look(())
    assert machine.asked == 1
    machine.now += 20
    assert look(())[1] == ModelOffer("tiny", "tiny · 2 M · 8 MB to fetch")
    assert machine.asked == 2
    machine.offers(Entry("here", "org/here"), HUB)(("tiny",))
    assert machine.asked == 2


def test_the_hub_is_asked_three_times_a_minute_however_many_pages_are_opened(machine: Fake):
    """decoding/page/http/README.md, “What a stranger cannot do”."""
    look = machine.offers(HUB)
    for _ in range(600):  # ten pages a second, for a minute
        look(())
        machine.now += 0.1
    assert machine.asked <= 3


def test_while_the_hub_is_asked_others_get_the_previous_answer(machine: Fake):
    look = machine.offers(HUB)
    look(())
    asked, goes_on = Event(), Event()
    machine.is_hub_reachable = lambda: asked.set() or goes_on.wait(60)  # type: ignore[method-assign, func-returns-value]
    machine.now += 30
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(look, ())
        try:
            assert asked.wait(60)
            told = pool.submit(look, ()).result(20)  # at once
            assert told[0].why_not == ""
        finally:
            goes_on.set()
        slow.result(60)
