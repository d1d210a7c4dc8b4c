"""Memory for weights, in the large pieces of `decoding.pages`.

A step reads all weights once; where each small page of them has to be looked up on the way, up to a sixth of the time
goes into that. Knows no loop and no layer.
"""

from collections.abc import Sequence
from math import prod

import torch
from torch import nn

from decoding.pages import LINE, large, taken_ahead

PIECE = 2**24
"""Numbers in a piece, 64 MiB: so many more are taken at most than what is moved has, and what was moved is free as soon
as a piece is full.
"""


class Pieces:
    """Where float32 tensors lie close to each other."""

    def __init__(self) -> None:
        self._piece, self._taken = torch.empty(0), 0
        self._begins: set[int] = set()
        if (ahead := taken_ahead()) is not None:
            self._begin(torch.from_numpy(ahead))

    def room(self, *shape: int) -> torch.Tensor:
        """An uninitialised tensor of a shape."""
        needed = prod(shape)
        if self._taken + needed > len(self._piece):
            self._begin(torch.from_numpy(large(max(PIECE, needed))))
        found = self._piece[self._taken : self._taken + needed].view(shape)
        self._taken += -(-needed // LINE) * LINE  # the next one begins a cache line too
        return found

    def _begin(self, piece: torch.Tensor) -> None:
        self._piece, self._taken = piece, 0
        self._begins.add(piece.untyped_storage().data_ptr())

    def holds(self, tensor: torch.Tensor) -> bool:
        return tensor.untyped_storage().data_ptr() in self._begins

    def stack(self, tensors: Sequence[torch.Tensor]) -> torch.Tensor:
        """The same numbers, here, one tensor's rows after the other's."""
        room = self.room(sum(map(len, tensors)), *tensors[0].shape[1:])
        return torch.cat([*tensors], out=room)


@torch.no_grad()
def move_parameters(network: nn.Module, pieces: Pieces) -> None:
    """Move all of a network's float32 weights that are elsewhere, those that stand at two places once."""
    for parameter in network.parameters():
        if parameter.dtype == torch.float32 and not pieces.holds(parameter):
            parameter.data = pieces.room(*parameter.shape).copy_(parameter)
