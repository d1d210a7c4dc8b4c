"""transformers' network beside another engine: loaded when it is asked for, once, and given back after a while."""

import threading
from pathlib import Path

import pytest

from decoding.engines import network_on_demand
from decoding.engines.network_on_demand import NetworkOnDemand
from decoding.engines.torch import float32_network
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


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Loads:
    loads = Loads()
    monkeypatch.setattr(float32_network, "load_float32_network", loads)
    return loads


def on_demand(path: Path = Path("model.gguf")) -> NetworkOnDemand:
    return NetworkOnDemand(ENTRY, path, lambda: True)


def test_it_is_loaded_once(loads: Loads) -> None:
    reference = on_demand()
    assert not loads.networks
    assert reference() is reference()
    assert any(thread.name == "reference" for thread in threading.enumerate())  # what gives it back waits
    assert reference() is loads.networks[0]
    assert len(loads.networks) == 1


def test_the_reference_is_released_and_loaded_again(loads: Loads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_on_demand, "KEEP_SECONDS", 0.05)
    reference = on_demand()
    reference()
    until(lambda: reference._network is None)
    reference()
    assert len(loads.networks) == 2


def test_its_memory_is_asked_for(starter_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    give_memory(monkeypatch, 800_000_000)
    with pytest.raises(RoomError, match=r"^starter needs 919 MB of memory in float32, and 800 MB is free\."):
        on_demand(starter_gguf)()


@pytest.mark.usefixtures("loads")
def test_a_network_that_no_thread_would_release_is_not_kept() -> None:
    reference = on_demand()
    with refused_threads("reference"), pytest.raises(RuntimeError, match="can't start new thread"):
        reference()
    assert reference._network is None
