"""Loading: weights and tokenizer, from a folder that is whole, to the device that was chosen.

Owns how a model gets into memory. Knows no loop and no page.
"""

import os
from collections.abc import Callable, Collection
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

from decoding.errors import ModelError, RequestError, RoomError
from decoding.models import hub
from decoding.models.catalogue import CATALOGUE, Entry
from decoding.models.checksums import unchanged
from decoding.models.context_length import context_of_config, context_of_network
from decoding.models.devices import Placement, exact_products, place
from decoding.models.generation_settings import ids_of, read_settings
from decoding.models.resources import DID_NOT_FIT, is_out_of_memory, parameters_in
from decoding.models.starter import STARTER_ID, Report, ensure_starter, silent
from decoding.models.tokenizer import FILE, read_tokenizer, tokenizer_of
from decoding.record.tokens import Vocabulary
from decoding.record.trace import ModelInfo

_LOCAL: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}
ADAPTER = "adapter_config.json"
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
    ends = _from_files(entry.name, lambda: read_settings(folder, config))
    text_config = config.get_text_config(decoder=True)
    return Words(
        model=entry.name,
        names=frozenset(filter(None, (entry.name, entry.repository, str(folder), folder.name))),
        vocabulary=Vocabulary(tokenizer),
        vocabulary_size=text_config.vocab_size,
        end_ids=ids_of(ends.eos_token_id),
        beginning_id=_beginning(tokenizer, text_config),
        context_length=context_of_config(text_config),
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
    _check_no_adapter_alone(entry.name, folder)
    if not entry.parameters:
        placement = place(entry.name, parameters_in(folder), device=device, dtype=dtype)
    report(f"Loading {entry.name} …", None)
    with _held_to_sums(entry, folder):
        network, tokenizer, notes = _load(entry.name, folder, placement)
    revision = entry.revision if entry.name == STARTER_ID else folder.name if entry.repository else ""
    return describe(network, tokenizer, model=entry.name, revision=revision, why="; ".join([placement.why, *notes]))


def entry_of(model: str) -> Entry:
    """The entry of a name of the catalogue, or of a local folder. Raises RequestError."""
    if entry := CATALOGUE.get(model):
        return entry
    folder = os.path.expanduser(model)
    if any(os.path.isfile(os.path.join(folder, name)) for name in ("config.json", ADAPTER)):  # never raise, unlike Path
        return Entry(model)
    raise RequestError(
        f'"{model}" is not a model to choose from: take one of {", ".join(CATALOGUE)}, '
        "or a folder that holds a config.json.",
        field="model",
    )


def _load(model: str, folder: Path, placement: Placement) -> tuple[PreTrainedModel, Any, list[str]]:
    """The network, its tokenizer, and what there is to say of what was left out."""
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # `report` is the word here
    config, tokenizer = _read_files(model, folder)
    settings = _from_files(model, lambda: read_settings(folder, config))
    options = _LOCAL | {"config": config, "dtype": placement.dtype, "use_safetensors": True}
    options |= {"output_loading_info": True, "generation_config": GenerationConfig()}  # type: ignore[no-untyped-call]
    network, found = _from_files(model, lambda: AutoModelForCausalLM.from_pretrained(folder, **options))
    if found["missing_keys"]:  # transformers fills them with random numbers, and only logs it
        raise ModelError(f"{model} could not be loaded: its files lack weights, {min(found['missing_keys'])} for one.")
    network.generation_config = settings
    exact_products()
    try:
        network.eval().to(placement.device)
    except torch.OutOfMemoryError as error:  # somebody else took it meanwhile
        raise RoomError(f"{model} did not fit into the GPU's memory after all. Choose a smaller model.") from error
    return network, tokenizer, _left_out(folder, found["unexpected_keys"])


def _check_no_adapter_alone(model: str, folder: Path) -> None:
    """Raises ModelError for what changes another model, and is none."""
    if (folder / ADAPTER).exists() and not any((folder / name).exists() for name in (hub.WEIGHTS, hub.INDEX)):
        raise ModelError(
            f"{model} holds an adapter alone ({ADAPTER}), not the model that it was trained on. Merge the two and "
            "choose the merged folder, or choose another model."
        )


def _left_out(folder: Path, unexpected: Collection[str]) -> list[str]:
    """What lies in a folder and is no part of the network that was loaded. transformers only logs it."""
    notes = []
    if (folder / ADAPTER).exists():
        notes.append(f"the adapter beside it ({ADAPTER}) is not applied")
    if unexpected:
        notes.append(f"weights without a place in this architecture were left out, {min(unexpected)} for one")
    return notes


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
    embeddings: Any = network.get_input_embeddings()  # (ids, width)
    ends = getattr(network.generation_config or text_config, "eos_token_id", None)
    return Loaded(
        network=network,
        vocabulary=Vocabulary(tokenizer),
        vocabulary_size=min(text_config.vocab_size, len(embeddings.weight)),
        info=ModelInfo(
            id=model,
            revision=revision,
            dtype=str(network.dtype).removeprefix("torch."),
            device=str(network.device),
            engine=f"torch {torch.__version__}, transformers {transformers.__version__}",
            why=why,
        ),
        end_ids=ids_of(ends),
        beginning_id=_beginning(tokenizer, text_config),
        context_length=context_of_network(network, text_config),
    )


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
