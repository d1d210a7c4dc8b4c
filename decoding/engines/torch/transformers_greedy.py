"""transformers' own greedy search, to compare a run with.

Owns how `generate` is called so that none of a model's generation settings changes the result. Knows ids alone;
`decoding.questions.agreement` compares.
"""

from collections.abc import Callable, Sequence
from typing import Any

from transformers import PreTrainedModel

from decoding.engines import Engine
from decoding.engines.torch.generate import generate
from decoding.engines.torch.softmax import read_scores
from decoding.errors import ModelError, RequestError
from decoding.messages import Message
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


def transformers_greedy_search(
    model: Engine, token_ids: Sequence[int], *, steps: int, past_end: bool = False
) -> list[ScoredToken]:
    """The picks of `generate(do_sample=False)` in up to `steps` steps, with transformers' own log-probabilities. With
    `past_end`, the ids that end a text are suppressed.
    """
    if not steps:
        return []
    network, cached = network_of(model), _cached_network_of(model)
    use_cache = cached is None or cached.generates_with_cache
    options: dict[str, Any] = {"max_new_tokens": steps, "output_logits": True, "use_cache": use_cache}
    if past_end and model.end_ids:
        options |= {"suppress_tokens": sorted(model.end_ids), "end_ids": ()}
    output = _generate(model, network, token_ids, **options)
    picked = output.sequences[0, len(token_ids) :].tolist()
    scores = (read_scores(logits[0], 1, token_id) for logits, token_id in zip(output.logits, picked, strict=True))
    return [score.picked for score in scores if score.picked]


def switched_off(model: Engine) -> tuple[str, ...]:
    """The model's generation settings that plain greedy decoding leaves out, as "repetition_penalty=1.3"."""
    settings = network_of(model).generation_config
    values = {name: getattr(settings, name, None) for name in NEUTRAL}
    return tuple(f"{name}={value}" for name, value in values.items() if value not in (None, [], NEUTRAL[name]))


def _cached_network_of(model: Engine) -> Any:
    """The model's network in its cache mode; None if ONNX Runtime or a CUDA graph computes it."""
    return getattr(getattr(model, "network", None), "cached", None)


def network_of(model: Engine) -> PreTrainedModel:
    """transformers' network of an engine's model. Raises RequestError if there is none in this process."""
    reference: Callable[[], PreTrainedModel] | None = getattr(model, "reference", None)
    if reference is None:
        raise RequestError(
            Message("search.elsewhere", model=model.info.id),
            field="model",
        )
    return reference()


def _generate(model: Engine, network: PreTrainedModel, token_ids: Sequence[int], **options: Any) -> Any:
    try:
        return generate(network, token_ids, **({"end_ids": model.end_ids} | options))
    except Exception as error:  # a hundred architectures raise a hundred kinds of errors
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(Message("search.failed", model=model.info.id, quote=reason[:300])) from error
