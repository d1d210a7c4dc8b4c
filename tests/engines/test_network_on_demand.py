"""transformers' network beside another engine: loaded when it is asked for, once, and given back after a while."""

import time
from pathlib import Path
from typing import Any

import pytest

from decoding.engines.network_on_demand import NetworkOnDemand
from decoding.engines.torch import float32_network as loads
from decoding.errors import RoomError
from decoding.models.catalogue import Entry

ENTRY = Entry("starter")


class Network:
    pass


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[Network]:
    networks: list[Network] = []

    def load(entry: Entry, source: Path) -> Network:
        assert (entry, source) == (ENTRY, Path("model.gguf"))
        networks.append(Network())
        return networks[-1]

    monkeypatch.setattr(loads, "load_float32_network", load)
    return networks


def test_it_is_loaded_once(loaded: list[Network]) -> None:
    reference = NetworkOnDemand(ENTRY, Path("model.gguf"))
    assert not loaded
    assert reference() is reference()
    time.sleep(0.1)  # whatever gives it back has begun to look
    assert reference() is loaded[0]
    assert len(loaded) == 1


def test_the_reference_is_released_and_loaded_again(loaded: list[Network]) -> None:
    reference = NetworkOnDemand(ENTRY, Path("model.gguf"), keep_seconds=0.05)
    reference()
    end = time.monotonic() + 30
    while reference._network is not None:
        assert time.monotonic() < end
        time.sleep(0.01)
    reference()
    assert len(loaded) == 2


def test_its_memory_is_asked_for_first(starter_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Any) -> Any:
        raise AssertionError("it was loaded")

    monkeypatch.setattr(loads, "gguf_network", refuse)
    monkeypatch.setattr(loads, "free_memory", lambda: 800_000_000)
    with pytest.raises(RoomError, match=r"^starter needs 919 MB of memory in float32, and 800 MB is free\."):
        NetworkOnDemand(ENTRY, starter_gguf)()
