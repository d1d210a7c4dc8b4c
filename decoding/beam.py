"""The library's own searches: transformers' beam search, and its greedy search to compare with.

Owns how `generate` is called so that nothing of a model's own settings bends the result, and what it may cost. Knows
ids alone; the Trace is `decoding.analysis`'s.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedModel

from decoding.engines import Engine
from decoding.engines.torch.softmax import read_scores
from decoding.errors import ModelError, RequestError
from decoding.models.devices import free_on
from decoding.record.step import ScoredToken

# What a model's generation settings may hold that changes what greedy search picks, and the value that changes nothing.
NEUTRAL: dict[str, Any] = {
    "bad_words_ids": None,
    "begin_suppress_tokens": None,
    "encoder_no_repeat_ngram_size": 0,
    "encoder_repetition_penalty": 1,
    "exponential_decay_length_penalty": None,
    "forced_bos_token_id": None,
    "forced_eos_token_id": None,
    "guidance_scale": 1,
    "min_length": 0,
    "min_new_tokens": 0,
    "no_repeat_ngram_size": 0,
    "num_beams": 1,
    "penalty_alpha": 0,
    "repetition_penalty": 1,
    "sequence_bias": None,
    "stop_strings": None,
    "suppress_tokens": None,
    "token_healing": False,
    "watermarking_config": None,
}


def library_beams(model: Engine, token_ids: Sequence[int], *, steps: int, num_beams: int) -> list[int]:
    """The ids of the best of `num_beams` beams after `steps` tokens, none of which ends the text before the last.

    Raises RequestError where the beams do not fit into the memory, ModelError where transformers cannot do it.
    """
    network = network_of(model)
    check_room(network, tokens=len(token_ids) + steps, steps=steps, num_beams=num_beams)
    options: dict[str, Any] = {"num_beams": num_beams, "length_penalty": 0.0, "early_stopping": False}
    if model.end_ids:
        options["min_new_tokens"] = steps - 1
    # A state that is overwritten step by step cannot follow its beam.
    options["use_cache"] = not getattr(network, "_is_stateful", False)
    return _generate(model, network, token_ids, max_new_tokens=steps, **options).sequences[0, len(token_ids) :].tolist()  # type: ignore[no-any-return]


def library_greedy(model: Engine, token_ids: Sequence[int], *, steps: int) -> list[ScoredToken]:
    """What `generate(do_sample=False)` picks in up to `steps` steps, with its own log-probabilities."""
    if not steps:
        return []
    output = _generate(model, network_of(model), token_ids, max_new_tokens=steps, output_logits=True)
    picked = output.sequences[0, len(token_ids) :].tolist()
    scores = (read_scores(logits[0], 1, token_id) for logits, token_id in zip(output.logits, picked, strict=True))
    return [score.picked for score in scores if score.picked]


def switched_off(model: Engine) -> tuple[str, ...]:
    """The model's own generation settings that plain greedy decoding leaves out, as "repetition_penalty=1.3"."""
    settings = network_of(model).generation_config
    values = {name: getattr(settings, name, None) for name in NEUTRAL}
    return tuple(f"{name}={value}" for name, value in values.items() if value not in (None, [], NEUTRAL[name]))


def network_of(model: Engine) -> PreTrainedModel:
    """The transformers model behind an engine. Raises RequestError where there is none in this process."""
    reference: Callable[[], PreTrainedModel] | None = getattr(model, "reference", None)
    if reference is None:
        raise RequestError(
            f"{model.info.id} does not run in this process, so transformers' own search cannot be asked. "
            "Choose a model that is loaded here.",
            field="model",
        )
    return reference()


@torch.inference_mode()
def _generate(model: Engine, network: PreTrainedModel, token_ids: Sequence[int], **options: Any) -> Any:
    # What a call leaves unset falls back to the model's own settings, so `generate` is called on a copy without any;
    # the copy is shallow and shares the weights.
    plain = copy.copy(network)
    plain.generation_config = GenerationConfig()  # type: ignore[no-untyped-call]
    ends = sorted(model.end_ids)
    input_ids = torch.tensor([list(token_ids)], device=network.device)  # (1, prompt)
    try:
        return plain.generate(  # type: ignore[operator]
            input_ids,
            attention_mask=torch.ones_like(input_ids),
            do_sample=False,
            eos_token_id=ends or None,
            pad_token_id=ends[0] if ends else 0,
            return_dict_in_generate=True,
            **options,
        )
    except (ValueError, NotImplementedError, RuntimeError) as error:  # its ways to say that it cannot
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(f"transformers' own search failed on {model.info.id}. It said: {said[:300]}") from error


def check_room(network: PreTrainedModel, *, tokens: int, steps: int, num_beams: int) -> None:
    """Raises RequestError where `num_beams` sequences of so many tokens do not fit into the memory that is free."""
    free = free_on(network.device.type)
    config: Any = network.config.get_text_config(decoder=True)
    heads = getattr(config, "num_attention_heads", None) or 0
    width = getattr(config, "head_dim", None) or config.hidden_size // (heads or 1)
    heads = getattr(config, "num_key_value_heads", None) or heads
    keys_and_values = 2 * config.num_hidden_layers * heads * width * network.dtype.itemsize  # a token
    logits = (4 * num_beams + steps) * config.vocab_size * 4  # ranking the beams, then reading the best again
    needed = num_beams * tokens * keys_and_values + logits
    if free is not None and needed > free:
        raise RequestError(
            f"{num_beams} beams of {tokens:,} tokens need about {_gigabytes(needed)} of memory, and "
            f"{_gigabytes(free)} are free. Take fewer beams, fewer steps or a shorter prompt.",
            field="beams",
        )


def _gigabytes(size: int) -> str:
    return f"{size / 2**30:,.1f} GiB"
