"""The best way on a CPU: a loaded network whose linear layers ask those libraries that read their weights fastest.

One token's step reads every weight once, and torch's own one-row product leaves most of the memory's bandwidth unused:
on one core here it reads 13 GB/s, where NumPy's BLAS reads 30 of the same weights. So that is where one row goes; a few
rows go through oneDNN, which takes them as they are in half of torch's time. Weights stay what they are, in their own
order, and lie in `decoding.engines.torch.pieces`; the network stays transformers' own, and `generate`, beam search,
scores and batches all go through it. float32 stays float32: only the order of additions differs. Layers that read the
same are one product, see `decoding.engines.torch.joined`. Knows no loop and no run.

oneDNN's operation is private to torch, so nothing is taken on trust: a network that then says something else is put
back.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from decoding.engines.torch.joined import join, separate, watching
from decoding.engines.torch.pieces import Pieces, move_parameters

NAME = "direct products"
"""What a run's `model.engine` says of it."""
TOLERANCE = 1e-4
"""How far the logits of the proof may be off, as a share of the largest: 1e-6 is usual, and a wrong layout is off by 1.
"""
SMALLEST = 2**16
"""Weights that a layer has at least to go this way: below, the call costs more than it brings."""
_PROOF_LENGTH = 3


class DirectLinear(nn.Module):
    """A linear layer, y = x·Wᵀ + b, over the very weights of the layer that it stands for."""

    def __init__(self, layer: nn.Linear | Conv1D) -> None:
        super().__init__()
        self.weight, self.bias = layer.weight, layer.bias
        self.holds_columns = isinstance(layer, Conv1D)  # GPT-2's, whose weights are Wᵀ
        columns = layer.weight.detach() if self.holds_columns else layer.weight.detach().t()
        self.columns: np.ndarray[Any, np.dtype[np.float32]] = columns.numpy()
        """Wᵀ, shape (inputs, outputs), for one row."""
        self._rows = columns.t()

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        inputs, outputs = self.columns.shape
        if rows.numel() == inputs:
            row = np.dot(rows.detach().reshape(inputs).numpy(), self.columns)  # (outputs,)
            output = torch.from_numpy(row).view(*rows.shape[:-1], outputs)
            return output if self.bias is None else output.add_(self.bias)
        return torch.ops.mkldnn._linear_pointwise(rows, self._rows, self.bias, "none", [], "")  # type: ignore[no-any-return]

    def plain(self) -> nn.Linear | Conv1D:
        """The layer as it was."""
        inputs, outputs = self.columns.shape
        with torch.device("meta"):  # no memory for weights that are replaced at once
            layer: Any = nn.Linear(inputs, outputs, bias=False)
            if self.holds_columns:
                layer = Conv1D(outputs, inputs)  # type: ignore[no-untyped-call]
        layer.weight, layer.bias = self.weight, self.bias
        return layer  # type: ignore[no-any-return]


def go_direct(network: PreTrainedModel) -> bool:
    """Have a network's linear layers go this way, in place. False, and the network as it was, where that is of no use:
    not on a CPU, not float32, a torch without oneDNN, no such layer, or a network that would not say the same.
    """
    if not can_go_direct(network):
        return False
    with watching([place for place in _plain_layers(network) if isinstance(place[2], nn.Linear)]) as groups:
        expected = _logits(network)
    pieces = Pieces()
    for together in (groups(), []):  # a network that cannot bear the one may bear the other
        join(together, pieces.stack)
        move_parameters(network, pieces)
        for parent, name, layer in list(_plain_layers(network)):
            setattr(parent, name, DirectLinear(layer))
        if _agrees(network, expected):
            return True
        put_back(network)
    return False


def can_go_direct(network: PreTrainedModel) -> bool:
    """Whether there is something that could, and torch has what reads it."""
    return (
        network.device.type == "cpu"
        and network.dtype == torch.float32
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        and not getattr(network, "_is_stateful", False)  # the proof would leave its traces in the state
        and any(True for _ in _plain_layers(network))
    )


def put_back(network: PreTrainedModel) -> None:
    """Put every layer back as it was."""
    for parent in list(network.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, DirectLinear):
                setattr(parent, name, layer.plain())
    separate(network)


def _plain_layers(network: nn.Module) -> Iterator[tuple[nn.Module, str, Any]]:
    """The layers that can go, each with its parent and its name there. A subclass may be something else: it stays."""
    for parent in network.modules():
        children: list[tuple[str, Any]] = list(parent.named_children())
        for name, child in children:
            if type(child) in (nn.Linear, Conv1D) and child.weight.numel() >= SMALLEST:
                yield parent, name, child


def _agrees(network: PreTrainedModel, expected: torch.Tensor) -> bool:
    """Whether a network says what it said before: of a few ids in one pass, and of the first alone, which goes another
    way.
    """
    try:
        difference = (_logits(network) - expected).abs().max()
        alone = (_logits(network, 1) - expected[:1]).abs().max()
    except Exception:  # whatever a model does that looks into its layers
        return False
    return bool(max(difference, alone) <= TOLERANCE * expected.abs().max())


@torch.inference_mode()
def _logits(network: PreTrainedModel, length: int = _PROOF_LENGTH) -> torch.Tensor:
    ids = range(min(length, network.config.get_text_config(decoder=True).vocab_size))
    return network(input_ids=torch.tensor([list(ids)])).logits[0]  # type: ignore[no-any-return]  # (length, vocabulary)
