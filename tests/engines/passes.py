"""What a transformers network reads in its forward passes, heard by its own hooks."""

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.utils.hooks import RemovableHandle

Shape = tuple[int, ...]
"""Of a pass's ids: (rows, columns)."""


def before_each_pass(network: nn.Module, act: Callable[[Shape], object]) -> RemovableHandle:
    """Call `act` before each pass of the network from here on. What it raises, the pass raises."""

    def hook(_: nn.Module, arguments: Any, options: dict[str, Any]) -> None:
        act(tuple(options["input_ids"].shape))

    return network.register_forward_pre_hook(hook, with_kwargs=True)


def change_shared_passes(network: nn.Module, change: Callable[[Any], Any]) -> RemovableHandle:
    """Have `change` make other logits, shape (rows, columns, vocabulary), of those of each pass over several rows."""

    def hook(_: nn.Module, arguments: Any, options: dict[str, Any], output: Any) -> None:
        if options["input_ids"].shape[0] > 1:
            output.logits = change(output.logits)

    return network.register_forward_hook(hook, with_kwargs=True)
