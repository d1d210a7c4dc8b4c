"""Linear layers that read the same thing, computed as one product: a decoder's queries, keys and values, or the two
that an MLP begins with.

On one row each layer costs its weights' way through the memory, and on top a call and a meeting of all threads; joined,
several layers cost those once. Which layers read the same is not known by name but seen in a forward pass. Every layer
keeps its place and its output, so the network stays transformers' own. Knows no layout and no loop.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from typing import Any

import torch
from torch import nn

Stack = Callable[[list[torch.Tensor]], torch.Tensor]
"""Puts the rows of several tensors one after the other."""


class Together(nn.Module):
    """Linear layers, their weights stacked: (sum of outputs, inputs)."""

    def __init__(self, layers: Sequence[nn.Linear], stack: Stack = torch.cat) -> None:
        super().__init__()
        self.sizes = [layer.out_features for layer in layers]
        self.biased = [layer.bias is not None for layer in layers]
        with torch.device("meta"):  # no memory for weights that are replaced at once
            self.product: Any = nn.Linear(layers[0].in_features, sum(self.sizes), bias=any(self.biased))
        self.product.weight = _still(stack([layer.weight for layer in layers]))
        if any(self.biased):
            biases: list[torch.Tensor] = [
                layer.weight.new_zeros(layer.out_features) if layer.bias is None else layer.bias for layer in layers
            ]
            self.product.bias = _still(torch.cat(biases))
        self._kept: tuple[torch.Tensor, list[Any]] | None = None

    def output(self, index: int, rows: torch.Tensor) -> torch.Tensor:
        """What one of the layers says of `rows`. The first who asks has all computed, the last takes the rest away.

        Who asks with other rows gets their own, so that threads which meet here cost each other time and nothing else.
        """
        kept = self._kept
        if kept is None or kept[0] is not rows or kept[1][index] is None:
            self._kept = kept = (rows, [*self.product(rows).split(self.sizes, dim=-1)])
        outputs = kept[1]
        output, outputs[index] = outputs[index], None
        if not any(other is not None for other in outputs):
            self._kept = None
        return output  # type: ignore[no-any-return]

    def layer(self, index: int) -> nn.Linear:
        """One of the layers, as it was. To be asked where `product` is a plain layer again."""
        begin = [0, *accumulate(self.sizes)][index]
        rows = slice(begin, begin + self.sizes[index])
        with torch.device("meta"):
            layer = nn.Linear(self.product.in_features, self.sizes[index], bias=self.biased[index])
        layer.weight = _still(self.product.weight[rows].clone())
        if self.biased[index]:
            layer.bias = _still(self.product.bias[rows].clone())
        return layer


class Part(nn.Module):
    """A layer's place in the network, computed with others."""

    def __init__(self, together: Together, index: int) -> None:
        super().__init__()
        self.together, self.index = together, index

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.together.output(self.index, rows)


Places = list[tuple[nn.Module, str, nn.Linear]]
"""Layers, each with its parent and its name there."""


@contextmanager
def watching(places: Places) -> Iterator[Callable[[], list[Places]]]:
    """While this is open, a forward pass shows which of these layers read the same: ask in the end for the groups, each
    of two or more layers of one parent.
    """
    read: dict[tuple[nn.Module, int], Places] = {}
    inputs: list[torch.Tensor] = []  # held, so that no two have one id
    often: list[nn.Module] = []

    def hook(place: tuple[nn.Module, str, nn.Linear]) -> Callable[..., None]:
        def see(layer: nn.Module, arguments: tuple[Any, ...]) -> None:
            if arguments:
                inputs.append(arguments[0])
                read.setdefault((place[0], id(arguments[0])), []).append(place)
                often.append(layer)

        return see

    handles = [place[2].register_forward_pre_hook(hook(place)) for place in places]
    try:
        yield lambda: [
            group for group in read.values() if len(group) > 1 and all(often.count(place[2]) == 1 for place in group)
        ]
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def join(groups: list[Places], stack: Stack = torch.cat) -> None:
    """Have the layers of each group computed together, in place; `stack` says where their weights go."""
    for group in groups:
        together = Together([layer for _, _, layer in group], stack)
        for index, (parent, name, _) in enumerate(group):
            setattr(parent, name, Part(together, index))


@torch.no_grad()
def separate(network: nn.Module) -> None:
    """Put every layer back as it was."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Part):
                setattr(parent, name, child.together.layer(child.index))


def _still(weights: torch.Tensor) -> nn.Parameter:
    return nn.Parameter(weights, requires_grad=False)
