"""transformers' own `generate`, called so that nothing of a model's own settings bends the result.

Knows a network and ids.
"""

import copy
from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from transformers import GenerationConfig, GenerationMixin, PreTrainedModel


@torch.inference_mode()
def generate(network: PreTrainedModel, token_ids: Sequence[int], *, end_ids: Collection[int], **options: Any) -> Any:
    """What `generate` returns as a dictionary. Raises whatever it raises."""
    # What a call leaves unset falls back to the model's own settings, so it is called on a copy without any; the copy
    # is shallow and shares the weights.
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


def prepares_itself(network: PreTrainedModel) -> bool:
    """Whether a family has a way of its own to make a step's inputs."""
    own: Callable[..., Any] | None = getattr(type(network), "prepare_inputs_for_generation", None)
    return own is not GenerationMixin.prepare_inputs_for_generation
