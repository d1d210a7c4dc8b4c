"""transformers' own `generate`, called without a model's own generation settings.

Owns the call. Knows a network and ids.
"""

import copy
from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from transformers import GenerationConfig, GenerationMixin, PreTrainedModel


@torch.inference_mode()
def generate(network: PreTrainedModel, token_ids: Sequence[int], *, end_ids: Collection[int], **options: Any) -> Any:
    """The dictionary that `generate` returns, greedy and without the model's own settings. Raises what `generate`
    raises.
    """
    # Unset options fall back to the model's own settings, so `generate` is called on a shallow copy without any, which
    # shares the weights.
    plain = copy.copy(network)
    plain.generation_config = GenerationConfig()  # type: ignore[no-untyped-call]
    ends = sorted(end_ids)
    input_ids = torch.tensor([list(token_ids)], device=network.device)  # (1, prompt)
    return plain.generate(  # type: ignore[operator]
        input_ids,
        attention_mask=torch.ones_like(input_ids),
        do_sample=False,
        eos_token_id=ends or None,
        pad_token_id=ends[0] if ends else 0,
        return_dict_in_generate=True,
        **options,
    )


def prepares_own_inputs(network: PreTrainedModel) -> bool:
    """Whether a family has its own method to prepare a step's inputs."""
    own: Callable[..., Any] | None = getattr(type(network), "prepare_inputs_for_generation", None)
    return own is not GenerationMixin.prepare_inputs_for_generation
