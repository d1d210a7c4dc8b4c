"""Weights in large pieces are the same weights."""

import pytest
import torch
from torch import nn

from decoding.engines.torch import pieces
from decoding.engines.torch.pieces import Pieces, move_parameters
from decoding.pages import take_ahead, taken_ahead

CACHE_LINE = 64


def test_tensors_lie_one_after_the_other_and_never_in_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "PIECE", 64)
    memory = Pieces()
    rooms = [memory.room(*shape).fill_(n) for n, shape in enumerate([(3, 5), (16,), (7, 7), (100, 2), (1,)])]
    assert all(bool((room == n).all()) for n, room in enumerate(rooms))
    assert all(room.data_ptr() % CACHE_LINE == 0 and room.is_contiguous() and memory.holds(room) for room in rooms)
    assert rooms[1].data_ptr() == rooms[0].data_ptr() + CACHE_LINE  # 15 numbers and one left free
    assert len({room.untyped_storage().data_ptr() for room in rooms}) == 4  # 200 numbers have a piece of their own


def test_rows_are_stacked() -> None:
    memory, parts = Pieces(), [torch.randn(3, 4), torch.randn(2, 4)]
    stacked = memory.stack(parts)
    assert torch.equal(stacked, torch.cat(parts))
    assert memory.holds(stacked)
    assert not memory.holds(parts[0])


def test_parameters_are_moved_once_and_what_is_shared_stays_shared() -> None:
    network = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 9), nn.LayerNorm(9).double())
    network[1].weight = network[0].weight
    before = {name: weights.clone() for name, weights in network.state_dict().items()}
    memory = Pieces()
    for _ in range(2):
        move_parameters(network, memory)
    assert network[1].weight is network[0].weight
    assert [memory.holds(weights) for weights in network.parameters()] == [True, True, False, False]
    assert all(torch.equal(weights, before[name]) for name, weights in network.state_dict().items())
    where = network[0].weight.data_ptr()
    move_parameters(network, memory)
    assert network[0].weight.data_ptr() == where


def test_what_was_taken_ahead_is_filled_first() -> None:
    taken_ahead()
    take_ahead(100)
    memory = Pieces()
    rooms = [memory.room(6, 16), memory.room(2), memory.room(2)]
    first, second, third = [room.untyped_storage().data_ptr() for room in rooms]  # a storage is too long to be shown
    assert first == second
    assert third != first
    assert memory.holds(rooms[0])
    assert taken_ahead() is None
