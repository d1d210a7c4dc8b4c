"""Loading: weights and tokenizer, from a folder that is whole, to the device that was chosen.

Owns how a model gets into memory. Knows no loop and no page.
"""

from collections.abc import Callable, Collection
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

from decoding.errors import ModelError, RoomError
from decoding.models import hub
from decoding.models.catalogue import Entry
from decoding.models.checked_tokenizer import gguf_tokenizer
from decoding.models.context_length import context_of_config, context_of_network
from decoding.models.devices import Placement, disable_tf32, place
from decoding.models.generation_settings import ids_of, read_settings
from decoding.models.gguf import read_gguf
from decoding.models.resources import DID_NOT_FIT, count_parameters, is_out_of_memory
from decoding.models.sources import adapter_note, entry_of, find_source, holds_gguf, revision_of, verifying_source
from decoding.models.spec_gguf import spec_of_gguf
from decoding.models.starter import Report, no_report
from decoding.models.tokenizer import TOKENIZER_FILE, read_tokenizer, tokenizer_of
from decoding.record.tokens import Vocabulary
from decoding.record.trace import ModelInfo

_LOCAL: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model in memory, with the facts of its configuration."""

    network: PreTrainedModel
    vocabulary: Vocabulary
    vocabulary_size: int
    info: ModelInfo
    end_ids: frozenset[int]
    beginning_id: int | None
    context_length: int | None


@dataclass(frozen=True, slots=True)
class ModelWithoutWeights:
    """A model without its weights: its tokenizer and the facts of its configuration.

    `names` are the names by which a server that has the weights may call it.
    """

    model: str
    names: frozenset[str]
    vocabulary: Vocabulary
    vocabulary_size: int
    end_ids: frozenset[int]
    beginning_id: int | None
    context_length: int | None


def load_without_weights(entry: Entry, report: Report = no_report) -> ModelWithoutWeights:
    """The tokenizer and the facts of a model that a server computes. Raises ModelError if its files cannot be had."""
    if holds_gguf(entry):
        return _load_gguf_without_weights(entry, find_source(entry, report))
    folder = hub.fetch_tokenizer(entry, report) if entry.repository else find_source(entry, report)
    config = check_config(entry.name, folder)
    tokenizer = _load_files(entry.name, lambda: tokenizer_in(folder))
    ends = _load_files(entry.name, lambda: read_settings(folder, config))
    text_config = config.get_text_config(decoder=True)
    return ModelWithoutWeights(
        model=entry.name,
        names=frozenset(filter(None, (entry.name, entry.repository, str(folder), folder.name))),
        vocabulary=Vocabulary(tokenizer),
        vocabulary_size=text_config.vocab_size,
        end_ids=ids_of(ends.eos_token_id),
        beginning_id=_beginning_id(tokenizer, text_config),
        context_length=context_of_config(text_config),
    )


def _load_gguf_without_weights(entry: Entry, path: Path) -> ModelWithoutWeights:
    with verifying_source(entry, path):
        tokenizer, spec = gguf_tokenizer(entry, path), spec_of_gguf(read_gguf(path))
    return ModelWithoutWeights(
        model=entry.name,
        names=frozenset((entry.name, str(path), path.name)),
        vocabulary=Vocabulary(tokenizer),
        vocabulary_size=spec.vocabulary_size,
        end_ids=spec.end_ids,
        beginning_id=spec.beginning_id,
        context_length=spec.context_length,
    )


def load_model(model: str | Entry, *, device: str, dtype: str, report: Report = no_report) -> LoadedModel:
    """Load a model of safetensors with transformers; see `decoding.engines.torch.engine.load`."""
    entry = model if isinstance(model, Entry) else entry_of(model)
    # Checked before fetching. If the catalogue does not know the size, the files do: those of the Hub are asked
    # for it before they are fetched.
    placement = place(entry.name, entry.parameters, device=device, dtype=dtype)

    def check_fits(half: Path, parameters: int) -> None:
        check_config(entry.name, half)
        if not entry.parameters:
            place(entry.name, parameters, device=device, dtype=dtype)

    folder = find_source(entry, report, check_fits)
    if not entry.parameters:
        placement = place(entry.name, count_parameters(folder), device=device, dtype=dtype)
    report(f"Loading {entry.name} …", None)
    tokenizer = _load_files(entry.name, lambda: tokenizer_in(folder))
    network, notes = load_network(entry.name, folder, placement)
    why = "; ".join(filter(None, (placement.why, adapter_note(folder), *notes)))
    return describe_model(network, tokenizer, model=entry.name, revision=revision_of(entry, folder), why=why)


def load_network(model: str, folder: Path, placement: Placement) -> tuple[PreTrainedModel, list[str]]:
    """transformers' network of a folder's safetensors, and notes about weights that were not used.

    Raises ModelError for files that are damaged or hold no causal language model, RoomError if the network does not
    fit.
    """
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # `report` shows the progress
    config = check_config(model, folder)
    settings = _load_files(model, lambda: read_settings(folder, config))
    options = _LOCAL | {"config": config, "dtype": getattr(torch, placement.dtype), "use_safetensors": True}
    options |= {"output_loading_info": True, "generation_config": GenerationConfig()}  # type: ignore[no-untyped-call]
    network, found = _load_files(model, lambda: AutoModelForCausalLM.from_pretrained(folder, **options))
    if found["missing_keys"]:  # transformers would use random numbers and only log it
        raise ModelError(
            f"{model} could not be loaded: its files lack weights, for example {min(found['missing_keys'])}."
        )
    network.generation_config = settings
    disable_tf32()
    try:
        network.eval().to(placement.device)
    except torch.OutOfMemoryError as error:  # another process has taken the memory meanwhile
        raise RoomError(f"{model} did not fit into the GPU's memory after all. Choose a smaller model.") from error
    return network, _unused_weights_note(found["unexpected_keys"])


def _unused_weights_note(unexpected: Collection[str]) -> list[str]:
    """A note about weights in the files that the network has no place for; transformers only logs them."""
    if not unexpected:
        return []
    return [f"weights without a place in this architecture were left out, for example {min(unexpected)}"]


def check_config(model: str, folder: Path) -> PreTrainedConfig:
    """A model's configuration. Raises ModelError if it is not that of a causal language model."""
    config: PreTrainedConfig = _load_files(model, lambda: AutoConfig.from_pretrained(folder, **_LOCAL))
    _check_reads_forward(model, config)
    return config


def describe_model(
    network: PreTrainedModel, tokenizer: Any, *, model: str, revision: str = "", why: str = ""
) -> LoadedModel:
    """A network and its tokenizer, with the facts of their configurations."""
    text_config = network.config.get_text_config(decoder=True)
    embeddings: Any = network.get_input_embeddings()  # (ids, width)
    ends = getattr(network.generation_config or text_config, "eos_token_id", None)
    return LoadedModel(
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
        beginning_id=_beginning_id(tokenizer, text_config),
        context_length=context_of_network(network, text_config),
    )


def _beginning_id(tokenizer: Any, config: PreTrainedConfig) -> int | None:
    beginning: int | None = tokenizer.bos_token_id
    return getattr(config, "bos_token_id", None) if beginning is None else beginning


def tokenizer_in(folder: Path) -> Any:
    """The repository's own tokenizer.json, or if there is none, the tokenizer that transformers makes of other
    files.
    """
    if (folder / TOKENIZER_FILE).exists():
        return read_tokenizer(folder)
    return tokenizer_of(AutoTokenizer.from_pretrained(folder, **_LOCAL))


def _check_reads_forward(model: str, config: PreTrainedConfig) -> None:
    """Raises ModelError for an encoder-decoder, and for an encoder, whose logits see the text that follows;
    transformers would load either as a causal language model.
    """
    encoder = type(config) in MODEL_FOR_MASKED_LM_MAPPING and not getattr(config, "is_decoder", False)
    if config.is_encoder_decoder or encoder:
        kind = "an encoder-decoder" if config.is_encoder_decoder else "an encoder"
        raise ModelError(f"{model} is {kind} model ({config.model_type}); greedy decoding needs a causal one.")


def _load_files(model: str, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except Exception as error:  # damaged files raise the errors of four libraries
        if is_out_of_memory(error):
            raise RoomError(DID_NOT_FIT.format(model=model)) from error
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"{model} could not be loaded. Its files may be missing or damaged, or they are not a "
            f"causal language model in safetensors. The loader said: {said[:300]}"
        ) from error
