"""The best way on a CPU: a loaded network whose linear layers hold their weights transposed.

One token's step reads every weight once, and torch's own one-row product leaves most of the memory's bandwidth unused:
on one core here it reads 13 GB/s, and 15 in the layout that oneDNN has for it, where a plain sum reads 32. NumPy's BLAS
reads transposed weights at 22, so that is where one row goes; more rows go through oneDNN, which takes these weights as
they are. They are laid out once, in place, layer by layer, so that two copies never stand beside each other; the
network stays transformers' own, and `generate`, beam search, scores and batches all go through it. float32 stays
float32: only the order of additions differs. Layers that read the same are one product, see `decoding.engines.joined`.
Knows no loop and no run.

oneDNN's operation is private to torch, so nothing is taken on trust: a network that then says something else is put
back, bit for bit.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from decoding.engines.joined import join, separate, watching

NAME = "transposed weights"
"""What a run's `model.engine` says of it."""
TOLERANCE = 1e-4
"""How far the logits of the proof may be off, as a share of the largest: 1e-6 is usual, and a wrong layout is off by 1.
"""
SMALLEST = 2**16
"""Weights that a layer has at least to be transposed: below, the call costs more than it brings."""
_PROOF_LENGTH = 3


class TransposedLinear(nn.Module):
    """A linear layer (y = x·Wᵀ + b) that holds Wᵀ, shape (inputs, outputs)."""

    def __init__(self, layer: nn.Linear | Conv1D) -> None:
        super().__init__()
        weight = layer.weight.detach()
        self.was_transposed = isinstance(layer, Conv1D)  # GPT-2's: it holds Wᵀ
        # No parameter: what looks for a layer's `weight` expects the other shape.
        self.columns = weight.contiguous() if self.was_transposed else weight.t().contiguous()
        self.for_one: np.ndarray[Any, np.dtype[np.float32]] = self.columns.numpy()
        self.for_more = self.columns.t()
        self.bias = layer.bias

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        inputs, outputs = self.columns.shape
        if rows.numel() == inputs:
            row = np.dot(rows.detach().reshape(inputs).numpy(), self.for_one)  # (outputs,)
            output = torch.from_numpy(row).view(*rows.shape[:-1], outputs)
            return output if self.bias is None else output.add_(self.bias)
        return torch.ops.mkldnn._linear_pointwise(rows, self.for_more, self.bias, "none", [], "")  # type: ignore[no-any-return]

    def plain(self) -> nn.Linear | Conv1D:
        """The layer as it was."""
        inputs, outputs = self.columns.shape
        with torch.device("meta"):  # no memory for weights that are replaced at once
            layer: Any = nn.Linear(inputs, outputs, bias=False)
            if self.was_transposed:
                layer = Conv1D(outputs, inputs)  # type: ignore[no-untyped-call]
        weight = self.columns if self.was_transposed else self.columns.t().contiguous()
        layer.weight = nn.Parameter(weight, requires_grad=False)
        layer.bias = self.bias
        return layer  # type: ignore[no-any-return]


def transpose(network: PreTrainedModel) -> bool:
    """Lay out a network's linear layers in place. False, and the network as it was, where that is of no use: not on a
    CPU, not float32, a torch without oneDNN, no such layer, or a network that would not say the same.
    """
    if not can_transpose(network):
        return False
    with watching([place for place in _plain_layers(network) if isinstance(place[2], nn.Linear)]) as groups:
        expected = _logits(network)
    for together in (groups(), []):  # a network that cannot bear the one may bear the other
        join(together)
        for parent, name, layer in list(_plain_layers(network)):
            setattr(parent, name, TransposedLinear(layer))
        if _agrees(network, expected):
            return True
        put_back(network)
    return False


def can_transpose(network: PreTrainedModel) -> bool:
    """Whether there is something to transpose, and torch has what reads it."""
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
    parents: list[nn.Module] = list(network.modules())
    for parent in parents:
        for name, layer in list(parent.named_children()):
            if isinstance(layer, TransposedLinear):
                setattr(parent, name, layer.plain())
    separate(network)
    network.tie_weights()


def _plain_layers(network: nn.Module) -> Iterator[tuple[nn.Module, str, Any]]:
    """The layers to transpose, each with its parent and its name there. A subclass may be something else: it stays."""
    for parent in network.modules():
        children: list[tuple[str, Any]] = list(parent.named_children())
        for name, child in children:
            if type(child) in (nn.Linear, Conv1D) and child.weight.numel() >= SMALLEST:
                yield parent, name, child


def _agrees(network: PreTrainedModel, expected: torch.Tensor) -> bool:
    """Whether a transposed network says what it said before: of a few ids in one pass, and of the first alone, which
    goes another way.
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
