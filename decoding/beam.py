"""transformers' own searches: its beam search, and its greedy search for comparison.

Owns how `generate` is called so that none of a model's generation settings changes the result, and the memory it needs.
Knows ids alone; `decoding.analysis` makes the Trace.
"""

import logging
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import PreTrainedModel

from decoding.engines import Engine
from decoding.engines.torch.generate import generate
from decoding.engines.torch.reading import measure_cache_bytes_per_token
from decoding.engines.torch.softmax import read_scores
from decoding.errors import ModelError, RequestError
from decoding.models.devices import free_bytes_on
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

_PROOF_IDS, _PROOF_STEPS, _PROOF_BEAMS, _PROOFS = 4, 8, 4, 2
_proved: "weakref.WeakKeyDictionary[PreTrainedModel, bool]" = weakref.WeakKeyDictionary()
"""Whether beam search with a KV cache is correct for a network."""
_proving = threading.Lock()


def transformers_beam_search(model: Engine, token_ids: Sequence[int], *, steps: int, num_beams: int) -> list[int]:
    """The ids of the best of `num_beams` beams after `steps` tokens; no beam ends before its last token.

    Raises RequestError if the beams do not fit into memory, ModelError if transformers fails.
    """
    network = network_of(model)
    check_beam_memory(network, tokens=len(token_ids) + steps, steps=steps, num_beams=num_beams)
    options: dict[str, Any] = {"num_beams": num_beams, "length_penalty": 0.0, "early_stopping": False}
    if model.end_ids:
        options["min_new_tokens"] = steps - 1
    options["use_cache"] = _may_cache_beams(model, network)
    return _generate(model, network, token_ids, max_new_tokens=steps, **options).sequences[0, len(token_ids) :].tolist()  # type: ignore[no-any-return]


def transformers_greedy_search(
    model: Engine, token_ids: Sequence[int], *, steps: int, past_end: bool = False
) -> list[ScoredToken]:
    """The picks of `generate(do_sample=False)` in up to `steps` steps, with transformers' own log-probabilities. With
    `past_end`, the ids that end a text are suppressed.
    """
    if not steps:
        return []
    network, reader = network_of(model), _reader_of(model)
    use_cache = reader is None or reader.generates_with_cache
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


def _reader_of(model: Engine) -> Any:
    """The reader of the model's network; None if ONNX Runtime or a CUDA graph computes it."""
    return getattr(getattr(model, "network", None), "reader", None)


def network_of(model: Engine) -> PreTrainedModel:
    """transformers' network of an engine's model. Raises RequestError if there is none in this process."""
    reference: Callable[[], PreTrainedModel] | None = getattr(model, "reference", None)
    if reference is None:
        raise RequestError(
            f"{model.info.id} does not run in this process, so transformers' own search cannot be used. "
            "Choose a model that is loaded here.",
            field="model",
        )
    return reference()


def _generate(model: Engine, network: PreTrainedModel, token_ids: Sequence[int], **options: Any) -> Any:
    try:
        return generate(network, token_ids, **({"end_ids": model.end_ids} | options))
    except Exception as error:  # a hundred architectures raise a hundred kinds of errors
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(f"transformers' own search failed on {model.info.id}. It said: {said[:300]}") from error


def _may_cache_beams(model: Engine, network: PreTrainedModel) -> bool:
    """Whether beam search with a KV cache gives the same beams as without. Tried once per network, because the cache
    has to follow beams that swap places. Raises ModelError if the search fails without a cache too.
    """
    reader = _reader_of(model)
    if getattr(network, "_is_stateful", False) or (reader and not reader.generates_with_cache):
        return False  # a recurrent state cannot follow its beam
    with _proving:
        if network not in _proved:
            _proved[network] = all(_same_beams(model, network, number) for number in range(_PROOFS))
    return _proved[network]


def _same_beams(model: Engine, network: PreTrainedModel, number: int) -> bool:
    """Whether one small search gives the same beams and scores with and without a cache."""
    vocabulary = network.config.get_text_config(decoder=True).vocab_size
    room = model.context_length or _PROOF_IDS + _PROOF_STEPS
    ids = [(5 + 11 * number + 7 * n) % vocabulary for n in range(min(_PROOF_IDS, max(1, room - 2)))]
    steps = min(_PROOF_STEPS, room - len(ids))
    options: dict[str, Any] = {"num_beams": _PROOF_BEAMS, "num_return_sequences": _PROOF_BEAMS, "length_penalty": 0.0}
    options |= {"max_new_tokens": steps, "output_scores": True}
    whole = _generate(model, network, ids, end_ids=(), use_cache=False, **options)
    try:
        cached = generate(network, ids, end_ids=(), use_cache=True, **options)
    except Exception:
        logging.getLogger(__name__).warning("beams of %s go without a cache", model.info.id, exc_info=True)
        return False
    difference = (cached.sequences_scores - whole.sequences_scores).abs().max()
    # In 16 bits a cache rounds differently, so the last beams may differ.
    exact = network.dtype == torch.float32
    same = torch.equal(cached.sequences, whole.sequences) if exact else True
    return same and bool(difference <= (1e-3 if exact else 0.2) * max(1.0, float(whole.sequences_scores.abs().max())))


def check_beam_memory(network: PreTrainedModel, *, tokens: int, steps: int, num_beams: int) -> None:
    """Raises RequestError if `num_beams` sequences of `tokens` tokens do not fit into the free memory."""
    free = free_bytes_on(network.device.type)
    vocabulary = network.config.get_text_config(decoder=True).vocab_size
    logits = (4 * num_beams + steps) * vocabulary * 4  # ranking the beams, then reading the best again
    needed = num_beams * tokens * measure_cache_bytes_per_token(network) + logits
    if free is not None and needed > free:
        raise RequestError(
            f"{num_beams} beams of {tokens:,} tokens need about {_gigabytes(needed)} of memory, and "
            f"{_gigabytes(free)} are free. Use fewer beams, fewer steps or a shorter prompt.",
            field="beams",
        )


def _gigabytes(size: int) -> str:
    return f"{size / 2**30:,.1f} GiB"
