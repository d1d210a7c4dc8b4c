"""The best way on a CPU: a loaded network whose linear layers are stored as oneDNN reads them fastest.

One token's step reads every weight once, and torch's own one-row product leaves most of the memory's bandwidth unused.
Here the weights are laid out once, in place, layer by layer, so that two copies never stand beside each other; the
network stays transformers' own, and `generate`, beam search, scores and batches all go through it. float32 stays
float32: only the order of additions differs. Knows no loop and no run.

The layout's two operations are private to torch, so nothing is taken on trust: a network that then says something else
is put back, bit for bit.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

NAME = "oneDNN-packed weights"
"""What a run's `model.engine` says of it."""
TOLERANCE = 1e-4
"""How far the logits of the proof may be off, as a share of the largest: 1e-6 is usual, and a wrong layout is off by 1.
"""
SMALLEST = 2**16
"""Weights that a layer has at least to be packed: below, waiting for a second thread costs more than it brings."""
_PROOF_LENGTH = 3


class PackedLinear(nn.Module):
    """A linear layer (y = x·Wᵀ + b) that holds W, shape (outputs, inputs), in oneDNN's layout for one row."""

    def __init__(self, layer: nn.Linear | Conv1D) -> None:
        super().__init__()
        self.transposed = isinstance(layer, Conv1D)  # GPT-2's: it holds Wᵀ
        weight = layer.weight.detach()
        # No parameter: the layout is opaque to everything but the operation that reads it.
        self.weights = torch.ops.mkldnn._reorder_linear_weight(
            weight.t().contiguous() if self.transposed else weight, 1
        )
        self.bias = layer.bias

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return torch.ops.mkldnn._linear_pointwise(rows, self.weights, self.bias, "none", [], "")  # type: ignore[no-any-return]

    def unpacked(self) -> nn.Linear | Conv1D:
        """The layer as it was."""
        weight = self.weights.to_dense()
        outputs, inputs = weight.shape
        with torch.device("meta"):  # no memory for weights that are replaced at once
            layer: Any = nn.Linear(inputs, outputs, bias=False)
            if self.transposed:
                layer = Conv1D(outputs, inputs)  # type: ignore[no-untyped-call]
        layer.weight = nn.Parameter(weight.t().contiguous() if self.transposed else weight, requires_grad=False)
        layer.bias = self.bias
        return layer  # type: ignore[no-any-return]


def pack(network: PreTrainedModel) -> bool:
    """Lay out a network's linear layers in place. False, and the network as it was, where that is of no use: not on a
    CPU, not float32, a torch without oneDNN, no such layer, or a network that would not say the same.
    """
    if not can_pack(network):
        return False
    expected = _logits(network)
    for parent, name, layer in list(_plain_layers(network)):
        setattr(parent, name, PackedLinear(layer))
    if _agrees(network, expected):
        return True
    unpack(network)
    return False


def can_pack(network: PreTrainedModel) -> bool:
    """Whether there is something to pack, and torch has what packs it."""
    return (
        network.device.type == "cpu"
        and network.dtype == torch.float32
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        and not getattr(network, "_is_stateful", False)  # the proof would leave its traces in the state
        and any(True for _ in _plain_layers(network))
    )


def unpack(network: PreTrainedModel) -> None:
    """Put every layer back as it was."""
    parents: list[nn.Module] = list(network.modules())
    for parent in parents:
        for name, layer in list(parent.named_children()):
            if isinstance(layer, PackedLinear):
                setattr(parent, name, layer.unpacked())
    network.tie_weights()


def _plain_layers(network: nn.Module) -> Iterator[tuple[nn.Module, str, Any]]:
    """The layers to pack, each with its parent and its name there. A subclass may be something else: it stays."""
    for parent in network.modules():
        children: list[tuple[str, Any]] = list(parent.named_children())
        for name, child in children:
            if type(child) in (nn.Linear, Conv1D) and child.weight.numel() >= SMALLEST:
                yield parent, name, child


def _agrees(network: PreTrainedModel, expected: torch.Tensor) -> bool:
    """Whether a packed network says what it said before."""
    try:
        difference = (_logits(network) - expected).abs().max()
    except Exception:  # whatever a model does that looks into its layers
        return False
    return bool(difference <= TOLERANCE * expected.abs().max())


@torch.inference_mode()
def _logits(network: PreTrainedModel) -> torch.Tensor:
    ids = range(min(_PROOF_LENGTH, network.config.get_text_config(decoder=True).vocab_size))
    return network(input_ids=torch.tensor([list(ids)])).logits[0]  # type: ignore[no-any-return]  # (3, vocabulary)
