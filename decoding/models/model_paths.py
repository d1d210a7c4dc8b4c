"""Finds a model's weights on this machine: a folder of safetensors, or one GGUF file.

Owns the way from a model's name to a path. Knows no engine, no torch and no transformers.
"""

import os
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from decoding.errors import ModelError, RequestError
from decoding.messages import Message
from decoding.models.catalogue import CATALOGUE, Entry, parse_model_list
from decoding.models.checksums import verifying_checksums
from decoding.models.progress import Report, no_report
from decoding.models.starter import MODEL_FILE, STARTER_ID, ensure_starter

if TYPE_CHECKING:
    from decoding.models.hub import CheckFits

GGUF = ".gguf"
ADAPTER = "adapter_config.json"
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")


def entry_of(model: str) -> Entry:
    """The entry of a name of the catalogue, a local folder or a GGUF file, or of hub:owner/name, as `parse_model_list`
    has it. Raises RequestError for any other name.
    """
    if entry := CATALOGUE.get(model):
        return entry
    if model.startswith("hub:"):
        return parse_model_list(model)[0]
    path = os.path.expanduser(model)  # unlike those of Path, these functions never raise
    holds_model = any(os.path.isfile(os.path.join(path, name)) for name in ("config.json", ADAPTER))
    if holds_model or (is_gguf(path) and os.path.isfile(path)):
        return Entry(model)
    raise RequestError(_why_no_model(model, path), field="model")


def _why_no_model(model: str, path: str) -> Message:
    if os.path.isdir(path):
        return Message("model.no_config", model=model)
    if os.path.exists(path):
        return Message("model.no_gguf", model=model)
    if is_gguf(path) or os.path.dirname(path):
        return Message("model.no_file", model=model)
    return Message("model.unknown", model=model, models=", ".join(CATALOGUE))


def find_source(entry: Entry, report: Report = no_report, check_fits: "CheckFits | None" = None) -> Path:
    """The path of a model's weights, a folder or a GGUF file, fetched from the Hub first if need be.

    `check_fits` may refuse the model before its weights are fetched. Raises ModelError if the weights cannot be found
    or fetched, and what `check_fits` raises.
    """
    if entry.name == STARTER_ID:
        return ensure_starter(report) / MODEL_FILE
    if entry.repository:
        from decoding.models import hub  # imported here: its library takes half a second

        return hub.fetch(entry, report, check_fits)
    path = Path(os.path.expanduser(entry.name))
    if path.is_file():  # the name stays: a link of the Hub's cache leads to a file that is named by its hash
        return path.parent.resolve() / path.name
    path = path.resolve()
    if (path / ADAPTER).exists() and not any((path / name).exists() for name in _WEIGHTS):
        raise ModelError(Message("model.adapter", model=entry.name, file=ADAPTER))
    return path


def adapter_note(path: Path) -> str:
    """A note about an adapter beside a model, which is not applied; "" if there is none."""
    return Message("why.adapter", file=ADAPTER) if (path / ADAPTER).exists() else ""


def is_gguf(path: str | Path) -> bool:
    return str(path).lower().endswith(GGUF)


def holds_gguf(entry: Entry) -> bool:
    """Whether the weights of a model are a GGUF file."""
    return entry.name == STARTER_ID or is_gguf(entry.file if entry.repository else entry.name)


def revision_of(entry: Entry, path: Path) -> str:
    """The commit of files from the Hub, or the starter's version."""
    if entry.name == STARTER_ID or not entry.repository:
        return entry.revision
    return path.parents[entry.file.count("/")].name if entry.file else path.name


def verifying_source(entry: Entry, path: Path) -> AbstractContextManager[None]:
    """Check the starter's files against their checksums while the body of the `with` statement loads them; other models
    have none. Raises ModelError at its end if a file was changed.
    """
    return (
        verifying_checksums(path.parent, partial(Message, "starter.changed"))
        if entry.name == STARTER_ID
        else nullcontext()
    )
