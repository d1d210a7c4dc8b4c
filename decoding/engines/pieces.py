"""Memory for weights, in large pieces.

A step reads all weights once, and where each small page of them (4 KB on most systems) has to be looked up on the way,
up to a sixth of the time goes into that. For a large piece the system is asked for large pages: NumPy does so for every
array from 4 MiB on, where there are such pages to be had. Knows no loop and no layer.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

PIECE = 2**24
"""Numbers in a piece, 64 MiB: so many more are taken at most than what is moved has, and what was moved is free as soon
as a piece is full.
"""
_LINE = 16
"""Numbers in a cache line, on which everything begins."""


class Pieces:
    """Where float32 tensors lie close to each other."""

    def __init__(self) -> None:
        self._piece = torch.empty(0)
        self._taken = 0
        self._begins: set[int] = set()

    def room(self, *shape: int) -> torch.Tensor:
        """An uninitialised tensor of a shape."""
        needed = int(np.prod(shape))
        if self._taken + needed > len(self._piece):
            self._piece, self._taken = large(max(PIECE, needed)), 0
            self._begins.add(self._piece.untyped_storage().data_ptr())
        found = self._piece[self._taken : self._taken + needed].view(shape)
        self._taken += -(-needed // _LINE) * _LINE
        return found

    def holds(self, tensor: torch.Tensor) -> bool:
        return tensor.untyped_storage().data_ptr() in self._begins

    def stack(self, tensors: Sequence[torch.Tensor]) -> torch.Tensor:
        """The same numbers, here, one tensor's rows after the other's."""
        room = self.room(sum(map(len, tensors)), *tensors[0].shape[1:])
        return torch.cat([*tensors], out=room)


def large(count: int) -> torch.Tensor:
    """So many uninitialised numbers in one piece, the first of them at the beginning of a cache line."""
    numbers: np.ndarray[Any, np.dtype[np.float32]] = np.empty(count + _LINE, np.float32)
    begin = -numbers.ctypes.data // numbers.itemsize % _LINE
    return torch.from_numpy(numbers[begin : begin + count])


@torch.no_grad()
def move_parameters(network: nn.Module, pieces: Pieces) -> None:
    """Move all of a network's float32 weights that are elsewhere, those that stand at two places once."""
    for parameter in network.parameters():
        if parameter.dtype == torch.float32 and not pieces.holds(parameter):
            parameter.data = pieces.room(*parameter.shape).copy_(parameter)
