"""Layers computed together say what each says alone, whoever asks and in whatever order."""

import threading
from collections.abc import Callable

import pytest
import torch
from torch import nn

from decoding.engines.torch import direct, joined
from decoding.engines.torch.joined import Part, Together
from tests import tiny_models


@pytest.fixture(autouse=True)
def _no_layer_is_too_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "SMALLEST", 0)


class Three(nn.Module):
    """Two layers that read the same, and one that reads another thing."""

    def __init__(self, biases: tuple[bool, ...] = (True, False)) -> None:
        super().__init__()
        self.first = nn.Linear(8, 5, bias=biases[0])
        self.second = nn.Linear(8, 3, bias=biases[1])
        self.third = nn.Linear(8, 5)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.first(rows) + self.third(rows + 1) + self.second(rows).sum(-1, keepdim=True)


def groups_of(network: nn.Module, run: Callable[[], object]) -> list[list[str]]:
    places = [(parent, name, layer) for parent, name, layer in direct._plain_layers(network)]
    with joined.watching(places) as groups:
        run()
    return [[name for _, name, _ in group] for group in groups()]


@torch.no_grad()
@pytest.mark.parametrize("biases", [(True, True), (True, False), (False, False)])
def test_joined_layers_say_the_same_and_are_put_back(biases: tuple[bool, bool]) -> None:
    network, rows = Three(biases), torch.randn(2, 4, 8)
    before = {name: weights.clone() for name, weights in network.state_dict().items()}
    expected = network(rows)
    joined.join([[(network, "first", network.first), (network, "second", network.second)]])
    assert isinstance(network.first, Part)
    assert torch.allclose(network(rows), expected, atol=1e-6)
    joined.separate(network)
    after = network.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_what_reads_the_same_is_seen() -> None:
    network = Three()
    assert groups_of(network, lambda: network(torch.ones(1, 8))) == [["first", "second"]]

    def twice() -> None:
        rows = torch.ones(1, 8)
        for layer in (network.first, network.second, network.second):
            layer(rows)

    assert groups_of(network, twice) == []  # who is asked twice is left alone


def test_a_llama_computes_three_and_two_at_a_time() -> None:
    network = tiny_models.network("llama").eval()
    assert direct.go_direct(network)
    sizes = [len(module.sizes) for module in network.modules() if isinstance(module, Together)]
    assert sizes == [3, 2] * network.config.num_hidden_layers
    assert not [module for module in network.modules() if isinstance(module, nn.Linear)]


@torch.no_grad()
def test_nothing_is_kept_once_all_have_theirs_and_nobody_gets_anothers() -> None:
    layers = [nn.Linear(8, 5), nn.Linear(8, 3)]
    together = Together(layers)
    one, two = torch.randn(1, 8), torch.randn(1, 8)
    for index, rows in ((0, one), (1, two), (1, one), (0, one), (0, one), (1, one)):
        assert torch.allclose(together.output(index, rows), layers[index](rows), atol=1e-6)
    assert together._kept is None


@torch.no_grad()
def test_threads_that_meet_get_their_own() -> None:
    layers = [nn.Linear(64, 64), nn.Linear(64, 64)]
    together, wrong = Together(layers), []

    def ask() -> None:
        with torch.no_grad():
            for _ in range(300):
                rows = torch.randn(1, 64)
                outputs = [together.output(index, rows) for index in (0, 1)]
                if not all(torch.allclose(o, layer(rows), atol=1e-5) for o, layer in zip(outputs, layers, strict=True)):
                    wrong.append(rows)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    assert not wrong
