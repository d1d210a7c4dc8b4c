"""A model's config.json, held against what greedy decoding here can compute, before its weights are read.

Owns which configurations are refused, and the sentence about files that cannot be read. Knows no device and no weights.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import MODEL_FOR_MASKED_LM_MAPPING, AutoConfig, PreTrainedConfig
from transformers.quantizers.auto import AutoHfQuantizer

from decoding.errors import ModelError, RoomError
from decoding.messages import Message
from decoding.models.config_size_limits import check_counts
from decoding.models.resources import is_out_of_memory

LOCAL: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}
"""Options of transformers' loaders: this machine's files alone, and no code of theirs."""


def check_config(model: str, folder: Path) -> PreTrainedConfig:
    """A model's configuration. Raises ModelError where it is that of no causal language model."""
    check_counts(model, folder)
    config: PreTrainedConfig = load_files(model, lambda: AutoConfig.from_pretrained(folder, **LOCAL))
    _check_reads_forward(model, config)
    return config


def check_quantized(model: str, config: PreTrainedConfig) -> None:
    """Refuse weights that are packed in a way that transformers does not know: it loads them as they stand, and only
    logs it.
    """
    settings = getattr(config, "quantization_config", None)
    supports: Callable[[Any], bool] = AutoHfQuantizer.supports_quant_method
    is_known = settings is None or load_files(model, lambda: supports(settings))
    if is_known and (settings := getattr(config, "compression_config", None)) is None:  # no longer read by transformers
        return
    method = settings.get("quant_method") if isinstance(settings, dict) else None
    raise ModelError(Message("model.quantized", model=model, method=str(method or settings)[:40]))


def _check_reads_forward(model: str, config: PreTrainedConfig) -> None:
    """Raises ModelError for an encoder-decoder, and for an encoder, whose logits see the text that follows;
    transformers would load either as a causal language model.
    """
    encoder = type(config) in MODEL_FOR_MASKED_LM_MAPPING and not getattr(config, "is_decoder", False)
    if config.is_encoder_decoder or encoder:
        kind = Message("model.kind.both") if config.is_encoder_decoder else Message("model.kind.encoder")
        raise ModelError(Message("model.kind", model=model, kind=kind, type=config.model_type))


def load_files(model: str, load: Callable[[], Any]) -> Any:
    """What `load` returns. Raises ModelError for whatever it says of damaged files, RoomError if memory runs out."""
    try:
        return load()
    except ModelError:
        raise
    except Exception as error:  # damaged files raise whatever four libraries do
        if is_out_of_memory(error):
            raise RoomError(Message("memory.load", model=model)) from error
        if "ignore_mismatched_sizes" in str(error):  # its word for them, and the advice to fill them at random
            raise ModelError(Message("model.shapes", model=model)) from error
        if "trust_remote_code" in str(error):
            raise ModelError(Message("model.own_code", model=model)) from error
        reason = " ".join(str(error).split("\n")[:2] if str(error) else [type(error).__name__]).strip()
        if isinstance(error, ImportError):
            raise ModelError(Message("model.library", model=model, quote=reason[:300])) from error
        raise ModelError(Message("model.damaged", model=model, quote=reason[:300])) from error
