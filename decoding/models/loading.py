"""Loading: weights and tokenizer, from a folder that is whole, to the device that was chosen.

Owns how a model gets into memory. Knows no loop and no page.
"""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
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
    GenerationConfig,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.utils import GENERATION_CONFIG_NAME

from decoding.errors import ModelError, RequestError, RoomError
from decoding.models import hub
from decoding.models.catalogue import CATALOGUE, Entry
from decoding.models.checksums import unchanged
from decoding.models.devices import Placement, exact_products, place
from decoding.models.resources import DID_NOT_FIT, is_out_of_memory, parameters_in
from decoding.models.starter import STARTER_ID, Report, ensure_starter, silent
from decoding.models.tokenizer import FILE, read_tokenizer, tokenizer_of
from decoding.record.tokens import Vocabulary
from decoding.record.trace import ModelInfo

_LOCAL: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}
_CHANGED = "The starter model on this disk was changed: {file} is not as it was written. Press Run to fetch it again."


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


@dataclass(frozen=True, slots=True)
class Words:
    """A model without its weights: its tokenizer, and what its configuration says. `names` are what it may be called by
    a server that has the weights.
    """

    model: str
    names: frozenset[str]
    vocabulary: Vocabulary
    vocabulary_size: int
    end_ids: frozenset[int]
    beginning_id: int | None
    context_length: int | None


def load_words(entry: Entry, report: Report = silent) -> Words:
    """What is here of a model that is computed elsewhere. Raises ModelError where its files cannot be had."""
    folder = hub.fetch_words(entry, report) if entry.repository else _folder(entry, report)
    with _held_to_sums(entry, folder):
        config, tokenizer = _read_files(entry.name, folder)

    def settings() -> GenerationConfig:
        if (folder / GENERATION_CONFIG_NAME).exists():
            return GenerationConfig.from_pretrained(folder, local_files_only=True)
        return GenerationConfig.from_model_config(config)

    ends, text_config = _from_files(entry.name, settings), config.get_text_config(decoder=True)
    return Words(
        model=entry.name,
        names=frozenset(filter(None, (entry.name, entry.repository, str(folder), folder.name))),
        vocabulary=Vocabulary(tokenizer),
        vocabulary_size=text_config.vocab_size,
        end_ids=_ids(ends.eos_token_id),
        beginning_id=_beginning(tokenizer, text_config),
        context_length=getattr(text_config, "max_position_embeddings", None),
    )


def load_model(model: str | Entry, *, device: str, dtype: str, report: Report = silent) -> Loaded:
    """See `decoding.engines.torch.engine.load`."""
    entry = model if isinstance(model, Entry) else entry_of(model)
    # Before anything is fetched. Where the catalogue is silent, the files say how large the model is, and those of the
    # Hub do so before they are fetched.
    placement = place(entry.name, entry.parameters, device=device, dtype=dtype)

    def fits(half: Path, parameters: int) -> None:
        _read_config(entry.name, half)
        if not entry.parameters:
            place(entry.name, parameters, device=device, dtype=dtype)

    folder = _folder(entry, report, fits)
    if not entry.parameters:
        placement = place(entry.name, parameters_in(folder), device=device, dtype=dtype)
    report(f"Loading {entry.name} …", None)
    with _held_to_sums(entry, folder):
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
    config, tokenizer = _read_files(model, folder)
    options = _LOCAL | {"config": config, "dtype": placement.dtype, "use_safetensors": True}
    options["output_loading_info"] = True
    network, found = _from_files(model, lambda: AutoModelForCausalLM.from_pretrained(folder, **options))
    if found["missing_keys"]:  # transformers fills them with random numbers, and only logs it
        raise ModelError(f"{model} could not be loaded: its files lack weights, {min(found['missing_keys'])} for one.")
    exact_products()
    try:
        network.eval().to(placement.device)
    except torch.OutOfMemoryError as error:  # somebody else took it meanwhile
        raise RoomError(f"{model} did not fit into the GPU's memory after all. Choose a smaller model.") from error
    return network, tokenizer


def _read_files(model: str, folder: Path) -> tuple[PreTrainedConfig, Any]:
    """A model's configuration and its tokenizer."""
    return _read_config(model, folder), _from_files(model, lambda: _tokenizer(folder))


def _read_config(model: str, folder: Path) -> PreTrainedConfig:
    """A model's configuration. Raises ModelError where it is that of no causal language model."""
    config: PreTrainedConfig = _from_files(model, lambda: AutoConfig.from_pretrained(folder, **_LOCAL))
    _check_reads_forward(model, config)
    return config


def describe(network: PreTrainedModel, tokenizer: Any, *, model: str, revision: str = "", why: str = "") -> Loaded:
    """A network and its tokenizer with what their configurations say."""
    text_config = network.config.get_text_config(decoder=True)
    ends = getattr(network.generation_config or text_config, "eos_token_id", None)
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
        end_ids=_ids(ends),
        beginning_id=_beginning(tokenizer, text_config),
        context_length=getattr(text_config, "max_position_embeddings", None),
    )


def _ids(said: int | list[int] | None) -> frozenset[int]:
    return frozenset([said] if isinstance(said, int) else said or ())


def _beginning(tokenizer: Any, config: PreTrainedConfig) -> int | None:
    beginning: int | None = tokenizer.bos_token_id
    return getattr(config, "bos_token_id", None) if beginning is None else beginning


def _folder(entry: Entry, report: Report, fits: hub.Fits | None = None) -> Path:
    """Where a model's files are, once they are here; those of the Hub are fetched where it `fits`."""
    if entry.name == STARTER_ID:
        return ensure_starter(report)
    if entry.repository:
        return hub.fetch(entry, report, fits)
    return Path(os.path.expanduser(entry.name)).resolve()


def _held_to_sums(entry: Entry, folder: Path) -> AbstractContextManager[None]:
    """Raises ModelError after what is done within, where the starter's files are not as they were written."""
    return unchanged(folder, _CHANGED) if entry.name == STARTER_ID else nullcontext()


def _tokenizer(folder: Path) -> Any:
    """The repository's own tokenizer.json as it stands; where there is none, what transformers makes of other files."""
    if (folder / FILE).exists():
        return read_tokenizer(folder)
    return tokenizer_of(AutoTokenizer.from_pretrained(folder, **_LOCAL))


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
        if is_out_of_memory(error):
            raise RoomError(DID_NOT_FIT.format(model=model)) from error
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"{model} could not be loaded. Its files may be missing or damaged, or they are no "
            f"causal language model in safetensors. The loader said: {said[:300]}"
        ) from error
