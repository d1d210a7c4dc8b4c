"""Loading: weights and tokenizer, from a folder that is whole, to the device that was chosen.

Owns how a model gets into memory. Knows no loop and no page.
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

from decoding import hub
from decoding.catalogue import CATALOGUE, Entry
from decoding.devices import Placement, exact_products, place
from decoding.errors import ModelError, RequestError, RoomError
from decoding.room import parameters_in
from decoding.starter import STARTER_ID, Report, ensure_starter, silent
from decoding.tokenizer_file import read_tokenizer
from decoding.tokens import Vocabulary
from decoding.trace import ModelInfo


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


def load_model(model: str | Entry, *, device: str, dtype: str, report: Report = silent) -> Loaded:
    """See `decoding.engines.local.load`."""
    entry = model if isinstance(model, Entry) else entry_of(model)
    # Before anything is fetched; what the files say is as good as the catalogue where that is silent.
    placement = place(entry.name, entry.parameters, device=device, dtype=dtype)
    folder = _folder(entry, report)
    if not entry.parameters:
        placement = place(entry.name, parameters_in(folder), device=device, dtype=dtype)
    report(f"Loading {entry.name} …", None)
    network, tokenizer = _load(entry.name, folder, placement)
    revision = entry.revision if entry.name == STARTER_ID else folder.name if entry.repository else ""
    return describe(network, tokenizer, model=entry.name, revision=revision, why=placement.why)


def entry_of(model: str) -> Entry:
    """The entry of a name of the catalogue, or of a local folder. Raises RequestError."""
    if entry := CATALOGUE.get(model):
        return entry
    if os.path.isfile(os.path.join(os.path.expanduser(model), "config.json")):  # these never raise, unlike Path's
        return Entry(model)
    raise RequestError(
        f'"{model}" is not a model to choose from: take one of {", ".join(CATALOGUE)}, '
        "or a folder that holds a config.json.",
        field="model",
    )


def _load(model: str, folder: Path, placement: Placement) -> tuple[PreTrainedModel, Any]:
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # `report` is the word here
    options: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}
    config = _from_files(model, lambda: AutoConfig.from_pretrained(folder, **options))
    _check_reads_forward(model, config)
    tokenizer = _from_files(model, lambda: _tokenizer(model, folder, options))
    options |= {"config": config, "dtype": placement.dtype, "use_safetensors": True, "output_loading_info": True}
    network, found = _from_files(model, lambda: AutoModelForCausalLM.from_pretrained(folder, **options))
    if found["missing_keys"]:  # transformers fills them with random numbers, and only logs it
        raise ModelError(f"{model} could not be loaded: its files lack weights, {min(found['missing_keys'])} for one.")
    exact_products()
    try:
        network.eval().to(placement.device)
    except torch.OutOfMemoryError as error:  # somebody else took it meanwhile
        raise RoomError(f"{model} did not fit into the GPU's memory after all. Choose a smaller model.") from error
    return network, tokenizer


def describe(network: PreTrainedModel, tokenizer: Any, *, model: str, revision: str = "", why: str = "") -> Loaded:
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
            why=why,
        ),
        end_ids=frozenset([ends] if isinstance(ends, int) else ends or ()),
        beginning_id=text_config.bos_token_id if beginning is None else beginning,
        context_length=getattr(text_config, "max_position_embeddings", None),
    )


def _folder(entry: Entry, report: Report) -> Path:
    """Where a model's files are, once they are here."""
    if entry.name == STARTER_ID:
        return ensure_starter(report)
    if entry.repository:
        return hub.fetch(entry, report)
    return Path(os.path.expanduser(entry.name)).resolve()


def _tokenizer(model: str, folder: Path, options: dict[str, Any]) -> Any:
    return read_tokenizer(folder) if model == STARTER_ID else AutoTokenizer.from_pretrained(folder, **options)


def _check_reads_forward(model: str, config: PreTrainedConfig) -> None:
    """Refuse what is no causal language model though transformers would load it as one: the decoder half of a
    translator, and an encoder, whose logits see the text that follows.
    """
    encoder = type(config) in MODEL_FOR_MASKED_LM_MAPPING and not getattr(config, "is_decoder", False)
    if config.is_encoder_decoder or encoder:
        kind = "an encoder-decoder" if config.is_encoder_decoder else "an encoder"
        raise ModelError(f"{model} is {kind} model ({config.model_type}); greedy decoding needs a causal one.")


def _from_files(model: str, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except Exception as error:  # damaged files raise whatever four libraries do
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"{model} could not be loaded. Its files may be missing or damaged, or they are no "
            f"causal language model in safetensors. The loader said: {said[:300]}"
        ) from error
