"""Where a model's weights are: a folder of safetensors as the Hub has them, or one GGUF file.

Owns the way from a name to a path on this machine. Knows no engine, no torch and no transformers.
"""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from decoding.errors import ModelError, RequestError
from decoding.models.catalogue import CATALOGUE, Entry
from decoding.models.checksums import unchanged
from decoding.models.starter import MODEL_FILE, STARTER_ID, Report, ensure_starter, silent

GGUF = ".gguf"
ADAPTER = "adapter_config.json"
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
Fits = Callable[[Path, int], None]
"""See `decoding.models.hub.Fits`."""
_CHANGED = "The starter model on this disk was changed: {file} is not as it was written. Press Run to fetch it again."


def entry_of(model: str) -> Entry:
    """The entry of a name of the catalogue, of a local folder, or of a GGUF file. Raises RequestError."""
    if entry := CATALOGUE.get(model):
        return entry
    path = os.path.expanduser(model)  # these never raise, unlike Path's
    holds_model = any(os.path.isfile(os.path.join(path, name)) for name in ("config.json", ADAPTER))
    if holds_model or (is_gguf(path) and os.path.isfile(path)):
        return Entry(model)
    raise RequestError(
        f'"{model}" is not a model to choose from: choose one of {", ".join(CATALOGUE)}, '
        "a GGUF file, or a folder that holds a config.json.",
        field="model",
    )


def find_source(entry: Entry, report: Report = silent, fits: Fits | None = None) -> Path:
    """Where a model's weights are, a folder or a GGUF file, once they are here; those of the Hub are fetched where it
    `fits`. Raises ModelError where they cannot be had.
    """
    if entry.name == STARTER_ID:
        return ensure_starter(report) / MODEL_FILE
    if entry.repository:
        from decoding.models import hub  # here: its library takes half a second to import

        return hub.fetch(entry, report, fits)
    path = Path(os.path.expanduser(entry.name)).resolve()
    if (path / ADAPTER).exists() and not any((path / name).exists() for name in _WEIGHTS):
        raise ModelError(
            f"{entry.name} holds only an adapter ({ADAPTER}), not the model that it was trained on. Merge the two and "
            "choose the merged folder, or choose another model."
        )
    return path


def adapter_note(path: Path) -> str:
    """What there is to say of an adapter that lies beside a model; "" where there is none."""
    return f"the adapter beside it ({ADAPTER}) is not applied" if (path / ADAPTER).exists() else ""


def is_gguf(path: str | Path) -> bool:
    return str(path).lower().endswith(GGUF)


def holds_gguf(entry: Entry) -> bool:
    """Whether a model's weights are a GGUF file."""
    return entry.name == STARTER_ID or is_gguf(entry.file if entry.repository else entry.name)


def revision_of(entry: Entry, path: Path) -> str:
    """The commit that the Hub's files are of, or the starter's own."""
    if entry.name == STARTER_ID or not entry.repository:
        return entry.revision
    return path.parents[entry.file.count("/")].name if entry.file else path.name


def held_to_sums(entry: Entry, path: Path) -> AbstractContextManager[None]:
    """Raises ModelError after what is done within, where the starter's files are not as they were written."""
    return unchanged(path.parent, _CHANGED) if entry.name == STARTER_ID else nullcontext()
