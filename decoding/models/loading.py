"""Loading: weights and tokenizer, from a folder that is whole, to the device that was chosen.

Owns how a model gets into memory. Knows no loop and no page.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import (
    AutoModelForCausalLM,
    GenerationConfig,
    PreTrainedConfig,
    PreTrainedModel,
)

from decoding.errors import ModelError, RoomError
from decoding.messages import Message
from decoding.models import hub
from decoding.models.catalogue import Entry
from decoding.models.config_support import LOCAL, check_config, check_quantized, load_files
from decoding.models.context_length import context_of_config, context_of_network
from decoding.models.devices import Placement, disable_tf32, place
from decoding.models.generation_settings import ids_of, read_settings
from decoding.models.gguf import read_gguf
from decoding.models.gguf_file_tokenizer import gguf_tokenizer, tokenizer_of_file
from decoding.models.gguf_head import head_of
from decoding.models.gguf_text import context_length, end_ids, named_id, vocabulary_size
from decoding.models.model_paths import adapter_note, entry_of, find_source, holds_gguf, revision_of, verifying_source
from decoding.models.progress import Report, no_report
from decoding.models.safetensors import count_parameters
from decoding.models.slow_tokenizer import made_note, tokenizer_in
from decoding.models.spec import row_of
from decoding.record.tokens import Vocabulary
from decoding.record.trace import ModelInfo


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
    note: str = ""
    """What there is to say of its tokenizer."""


def load_without_weights(entry: Entry, report: Report = no_report) -> ModelWithoutWeights:
    """The tokenizer and the facts of a model that a server computes. Raises ModelError if its files cannot be had."""
    if holds_gguf(entry):
        return _load_gguf_without_weights(entry, report)
    folder = hub.fetch_tokenizer(entry, report) if entry.repository else find_source(entry, report)
    config = check_config(entry.name, folder)
    tokenizer = load_files(entry.name, lambda: tokenizer_in(entry.name, folder))
    ends = load_files(entry.name, lambda: read_settings(folder, config))
    text_config = config.get_text_config(decoder=True)
    return ModelWithoutWeights(
        model=entry.name,
        names=frozenset(filter(None, (entry.name, entry.repository, str(folder), folder.name))),
        vocabulary=Vocabulary(tokenizer),
        vocabulary_size=text_config.vocab_size,
        end_ids=ids_of(ends.eos_token_id, text_config.vocab_size),
        beginning_id=_beginning_id(tokenizer, text_config, text_config.vocab_size),
        context_length=context_of_config(text_config),
        note=made_note(folder),
    )


def _load_gguf_without_weights(entry: Entry, report: Report) -> ModelWithoutWeights:
    if entry.file:
        file = head_of(entry, report)
        tokenizer = tokenizer_of_file(file)
    else:
        path = find_source(entry, report)
        with verifying_source(entry, path):
            tokenizer, file = gguf_tokenizer(entry, path), read_gguf(path)
    rows = vocabulary_size(file)
    return ModelWithoutWeights(
        model=entry.name,
        names=frozenset((entry.name, str(file.path), file.path.name)),
        vocabulary=Vocabulary(tokenizer),
        vocabulary_size=rows,
        end_ids=end_ids(file, rows),
        beginning_id=row_of(tokenizer.bos_token_id, named_id(file.metadata, "bos", rows), rows=rows),
        context_length=context_length(file),
    )


def load_model(model: str | Entry, *, device: str, dtype: str, report: Report = no_report) -> LoadedModel:
    """Load a model of safetensors with transformers; see `decoding.engines.torch.engine.load`."""
    entry = model if isinstance(model, Entry) else entry_of(model)
    # Checked before fetching. If the catalogue does not know the size, the files do: those of the Hub are asked
    # for it before they are fetched.
    placement = place(entry.name, entry.parameters, device=device, dtype=dtype)

    def check_fits(half: Path, parameters: int) -> None:
        check_quantized(entry.name, check_config(entry.name, half))
        if not entry.parameters:
            place(entry.name, parameters, device=device, dtype=dtype)

    folder = find_source(entry, report, check_fits)
    if not entry.parameters:
        placement = place(entry.name, count_parameters(folder), device=device, dtype=dtype)
    report(Message("model.loading", model=entry.name), None)
    tokenizer = load_files(entry.name, lambda: tokenizer_in(entry.name, folder))
    network, notes = load_network(entry.name, folder, placement)
    why = "; ".join(filter(None, (placement.why, adapter_note(folder), made_note(folder), *notes)))
    return describe_model(network, tokenizer, model=entry.name, revision=revision_of(entry, folder), why=why)


def load_network(model: str, folder: Path, placement: Placement) -> tuple[PreTrainedModel, list[str]]:
    """transformers' network of a folder's safetensors, and notes about weights that were not used.

    Raises ModelError for files that are damaged or hold no causal language model, RoomError if the network does not
    fit.
    """
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # `report` shows the progress
    transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # what is wrong is raised below
    config = check_config(model, folder)
    check_quantized(model, config)
    settings = load_files(model, lambda: read_settings(folder, config))
    options = LOCAL | {"config": config, "dtype": getattr(torch, placement.dtype), "use_safetensors": True}
    options |= {"output_loading_info": True, "generation_config": GenerationConfig()}  # type: ignore[no-untyped-call]
    network, found = load_files(model, lambda: AutoModelForCausalLM.from_pretrained(folder, **options))
    if found["missing_keys"]:  # transformers would use random numbers and only log it
        raise ModelError(Message("model.weights", model=model, one=min(found["missing_keys"])))
    network.generation_config = settings
    disable_tf32()
    try:
        network.eval().to(placement.device)
    except torch.OutOfMemoryError as error:  # another process has taken the memory meanwhile
        raise RoomError(Message("model.gpu", model=model)) from error
    return network, _unused_weights_note(found["unexpected_keys"])


def _unused_weights_note(unexpected: Collection[str]) -> list[str]:
    """A note about weights in the files that the network has no place for; transformers only logs them."""
    if not unexpected:
        return []
    return [Message("why.left_out", one=min(unexpected))]


def describe_model(
    network: PreTrainedModel, tokenizer: Any, *, model: str, revision: str = "", why: str = ""
) -> LoadedModel:
    """A network and its tokenizer with what their configurations say."""
    text_config = network.config.get_text_config(decoder=True)
    embeddings: Any = network.get_input_embeddings()  # (ids, width)
    ends = getattr(network.generation_config or text_config, "eos_token_id", None)
    rows = min(text_config.vocab_size, len(embeddings.weight))
    return LoadedModel(
        network=network,
        vocabulary=Vocabulary(tokenizer),
        vocabulary_size=rows,
        info=ModelInfo(
            id=model,
            revision=revision,
            dtype=str(network.dtype).removeprefix("torch."),
            device=str(network.device),
            engine=f"torch {torch.__version__}, transformers {transformers.__version__}",
            why=why,
        ),
        end_ids=ids_of(ends, rows),
        beginning_id=_beginning_id(tokenizer, text_config, rows),
        context_length=context_of_network(network, text_config),
    )


def _beginning_id(tokenizer: Any, config: PreTrainedConfig, rows: int) -> int | None:
    return row_of(tokenizer.bos_token_id, getattr(config, "bos_token_id", None), rows=rows)
