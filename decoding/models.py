"""The catalogue, and loading: device, dtype, weights, tokenizer.

Owns which models there are and how one gets into memory. Knows no loop and no page.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import (
    MODEL_FOR_MASKED_LM_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
)

from decoding.errors import ModelError, RequestError
from decoding.starter import STARTER_ID, STARTER_REVISION, Report, ensure_starter, silent
from decoding.tokens import Vocabulary
from decoding.trace import ModelInfo

HUB_MODELS = ("distilgpt2", "gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl")
"""The notebook's family, fetched from the Hugging Face Hub on first use; gpt2-xl is the notebook's own."""

CATALOGUE = (STARTER_ID, *HUB_MODELS)

DEVICES = ("auto", "cuda", "mps", "cpu")
DTYPES = {
    "auto": torch.float32,
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model in memory, with what its configuration says of ending, beginning and length."""

    network: PreTrainedModel
    vocabulary: Vocabulary
    vocabulary_size: int
    info: ModelInfo
    end_ids: frozenset[int]
    beginning_id: int | None
    context_length: int | None


def load_model(model: str, *, device: str, dtype: str, report: Report = silent) -> Loaded:
    """See `decoding.engines.local.load`."""
    chosen = choose_device(device)
    if dtype not in DTYPES:
        raise RequestError(f'There is no dtype "{dtype}": choose one of {", ".join(DTYPES)}.', field="model")
    source, revision = _source(model, report)
    report(f"Loading {model} …", None)
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # `report` is the word here
    options: dict[str, Any] = {"trust_remote_code": False, "local_files_only": isinstance(source, Path)}
    config = _from_source(model, lambda: AutoConfig.from_pretrained(source, **options))
    _check_reads_forward(model, config)
    tokenizer = _from_source(model, lambda: AutoTokenizer.from_pretrained(source, **options))
    options |= {"config": config, "dtype": DTYPES[dtype], "use_safetensors": True, "output_loading_info": True}
    network, found = _from_source(model, lambda: AutoModelForCausalLM.from_pretrained(source, **options))
    if found["missing_keys"]:  # transformers fills them with random numbers, and only logs it
        raise ModelError(f"{model} could not be loaded: its files lack weights, {min(found['missing_keys'])} for one.")
    network.eval().to(chosen)
    torch.set_float32_matmul_precision("highest")  # float32 is float32: no TF32
    return describe(network, tokenizer, model=model, revision=revision or _commit(network))


def describe(network: PreTrainedModel, tokenizer: Any, *, model: str, revision: str = "") -> Loaded:
    """A network and its tokenizer with what their configurations say."""
    text_config = network.config.get_text_config(decoder=True)
    ends = network.generation_config.eos_token_id if network.generation_config else text_config.eos_token_id
    beginning = tokenizer.bos_token_id
    return Loaded(
        network=network,
        vocabulary=Vocabulary(tokenizer),
        vocabulary_size=text_config.vocab_size,
        info=ModelInfo(
            id=model,
            revision=revision,
            dtype=str(network.dtype).removeprefix("torch."),
            device=str(network.device),
            engine=f"torch {torch.__version__}, transformers {transformers.__version__}",
        ),
        end_ids=frozenset([ends] if isinstance(ends, int) else ends or ()),
        beginning_id=text_config.bos_token_id if beginning is None else beginning,
        context_length=getattr(text_config, "max_position_embeddings", None),
    )


def choose_device(device: str) -> str:
    """The device that `device` means on this machine; "auto" takes the first there is of cuda, mps, cpu."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        return next(name for name, available in there.items() if available)
    if device not in there:
        raise RequestError(f'There is no device "{device}": choose one of {", ".join(DEVICES)}.', field="model")
    if not there[device]:
        raise RequestError(f'This machine has no "{device}" device: choose "auto" or "cpu".', field="model")
    return device


def _source(model: str, report: Report) -> tuple[str | Path, str]:
    """Where a model's files are, and its revision where it is known beforehand."""
    if model == STARTER_ID:
        return ensure_starter(report), STARTER_REVISION
    if model in HUB_MODELS:
        return model, ""
    folder = Path(os.path.expanduser(model))  # unlike Path.expanduser and Path.is_file, these two never raise
    if os.path.isfile(folder / "config.json"):
        return folder.resolve(), ""
    raise RequestError(
        f'"{model}" is not a model to choose from: take one of {", ".join(CATALOGUE)}, '
        "or a folder that holds a config.json.",
        field="model",
    )


def _check_reads_forward(model: str, config: PreTrainedConfig) -> None:
    """Refuse what is no causal language model though transformers would load it as one: the decoder half of a
    translator, and an encoder, whose logits see the text that follows.
    """
    encoder = type(config) in MODEL_FOR_MASKED_LM_MAPPING and not getattr(config, "is_decoder", False)
    if config.is_encoder_decoder or encoder:
        kind = "an encoder-decoder" if config.is_encoder_decoder else "an encoder"
        raise ModelError(f"{model} is {kind} model ({config.model_type}); greedy decoding needs a causal one.")


def _from_source(model: str, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except Exception as error:  # damaged files raise whatever four libraries do
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"{model} could not be loaded. Its files may be missing and the network out of reach, or they are no "
            f"causal language model in safetensors. The loader said: {said[:300]}"
        ) from error


def _commit(network: PreTrainedModel) -> str:
    return getattr(network.config, "_commit_hash", None) or ""
