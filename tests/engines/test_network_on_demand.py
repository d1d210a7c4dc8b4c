"""transformers' network beside another engine: loaded when it is asked for, once, and given back after a while."""

import threading
from pathlib import Path

import pytest

from decoding.engines.network_on_demand import NetworkOnDemand
from decoding.errors import RoomError
from decoding.models.catalogue import Entry
from tests.machines import give_memory, refused_threads
from tests.waiting import until

ENTRY = Entry("starter")


class Network:
    pass


class Loads:
    """What was loaded so far."""

    def __init__(self) -> None:
        self.networks: list[Network] = []

    def __call__(self, entry: Entry, source: Path) -> Network:
        assert (entry, source) == (ENTRY, Path("model.gguf"))
        self.networks.append(Network())
        return self.networks[-1]


def test_it_is_loaded_once() -> None:
    loads = Loads()
    reference = NetworkOnDemand(ENTRY, Path("model.gguf"), load=loads)
    assert not loads.networks
    assert reference() is reference()
    assert any(thread.name == "reference" for thread in threading.enumerate())  # what gives it back waits
    assert reference() is loads.networks[0]
    assert len(loads.networks) == 1


def test_the_reference_is_released_and_loaded_again() -> None:
    loads = Loads()
    reference = NetworkOnDemand(ENTRY, Path("model.gguf"), keep_seconds=0.05, load=loads)
    reference()
    until(lambda: reference._network is None)
    reference()
    assert len(loads.networks) == 2


def test_its_memory_is_asked_for(starter_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    give_memory(monkeypatch, 800_000_000)
    with pytest.raises(RoomError, match=r"^starter needs 919 MB of memory in float32, and 800 MB is free\."):
        NetworkOnDemand(ENTRY, starter_gguf)()


def test_a_network_that_no_thread_would_release_is_not_kept() -> None:
    reference = NetworkOnDemand(ENTRY, Path("model.gguf"), load=Loads())
    with refused_threads("reference"), pytest.raises(RuntimeError, match="can't start new thread"):
        reference()
    assert reference._network is None
