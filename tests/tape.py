"""A CUDA graph without CUDA: every operation of a step noted with its tensors, and made again on the same ones.

What a real graph would repeat, this repeats too: a Python number that a step counted, a tensor that it made anew, a
branch that it took. What a real one cannot hold, asking the host for a number, is refused here as well.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

ASKS = ("_local_scalar_dense", "item", "is_nonzero", "equal", "nonzero", "masked_select", "lift_fresh")
"""Operations that wait for the device, or bring it something of the host's."""


class Tape(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = operation._schema.name
        by_mask = name == "aten::index" and any(index is not None and index.dtype is torch.bool for index in args[1])
        if by_mask or name.removeprefix("aten::") in ASKS:
            raise RuntimeError(f"{name}: operation not permitted when stream is capturing")
        result = operation(*args, **(kwargs or {}))
        self.calls.append((operation, args, kwargs or {}, result))
        return result

    def play(self) -> None:
        for operation, args, kwargs, before in self.calls:
            now = operation(*args, **kwargs)
            for old, new in zip(tree_leaves(before), tree_leaves(now), strict=True):
                if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


def record(step: Callable[[], None]) -> Callable[[], None]:
    """As `decoding.engines.torch.captured_step.capture`."""
    step()  # warm
    with Tape() as tape:
        step()
    return tape.play
