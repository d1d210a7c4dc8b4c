"""A model's config.json, held against what greedy decoding here can compute, before its weights are read.

Owns which configurations are refused, and the sentence about files that cannot be read. Knows no device and no weights.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import MODEL_FOR_MASKED_LM_MAPPING, AutoConfig, PreTrainedConfig
from transformers.quantizers.auto import AutoHfQuantizer

from decoding.errors import ModelError, RoomError
from decoding.models.config_bounds import check_counts
from decoding.models.resources import DID_NOT_FIT, is_out_of_memory

OTHER_SHAPE = (
    "{model} could not be loaded: its weights have other shapes than its config.json says. Download both again."
)
UNHEARD = (
    "{model} is quantized in a way that is not known here ({method}), so its weights would be read as something else. "
    "Choose a copy that is not quantized."
)
LIBRARY = (
    "{model} needs a library that is not installed here. Install it, or choose a copy that is not quantized. The "
    "loader said: {said}"
)
OWN_CODE = (
    "{model} brings code of its own, and none is run here. Choose a model of an architecture that transformers has."
)

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
    said = getattr(config, "quantization_config", None)
    supports: Callable[[Any], bool] = AutoHfQuantizer.supports_quant_method
    is_known = said is None or load_files(model, lambda: supports(said))
    if is_known and (said := getattr(config, "compression_config", None)) is None:  # which transformers reads no more
        return
    method = said.get("quant_method") if isinstance(said, dict) else None
    raise ModelError(UNHEARD.format(model=model, method=str(method or said)[:40]))


def _check_reads_forward(model: str, config: PreTrainedConfig) -> None:
    """Raises ModelError for an encoder-decoder, and for an encoder, whose logits see the text that follows;
    transformers would load either as a causal language model.
    """
    encoder = type(config) in MODEL_FOR_MASKED_LM_MAPPING and not getattr(config, "is_decoder", False)
    if config.is_encoder_decoder or encoder:
        kind = "an encoder-decoder" if config.is_encoder_decoder else "an encoder"
        raise ModelError(f"{model} is {kind} model ({config.model_type}); greedy decoding needs a causal one.")


def load_files(model: str, load: Callable[[], Any]) -> Any:
    """What `load` returns. Raises ModelError for whatever it says of damaged files, RoomError if memory runs out."""
    try:
        return load()
    except ModelError:
        raise
    except Exception as error:  # damaged files raise whatever four libraries do
        if is_out_of_memory(error):
            raise RoomError(DID_NOT_FIT.format(model=model)) from error
        if "ignore_mismatched_sizes" in str(error):  # its word for them, and the advice to fill them at random
            raise ModelError(OTHER_SHAPE.format(model=model)) from error
        if "trust_remote_code" in str(error):
            raise ModelError(OWN_CODE.format(model=model)) from error
        said = " ".join(str(error).split("\n")[:2] if str(error) else [type(error).__name__]).strip()
        if isinstance(error, ImportError):
            raise ModelError(LIBRARY.format(model=model, said=said[:300])) from error
        raise ModelError(
            f"{model} could not be loaded. Its files may be missing or damaged, or they are not a "
            f"causal language model in safetensors. The loader said: {said[:300]}"
        ) from error
