"""What the Gradio page needs to let a visitor's browser compute: the engine's scripts and a model's files.

Owns what a version is made of: the model's files, the libraries and the scripts. `version_folders` keeps the folder of
each version in the cache. Knows no page.
"""

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

from decoding.engines.onnx import unpacking
from decoding.engines.onnx.graph_cache import ensure_graph
from decoding.errors import GreedyscopeError, ModelError
from decoding.messages import reason_of
from decoding.models.cache import cache_folder
from decoding.models.catalogue import Entry
from decoding.models.model_paths import find_source, holds_gguf
from decoding.models.progress import Report, no_report
from decoding.models.spec import NoGraphError
from decoding.site import model_files
from decoding.site.build import LIBRARIES, engine_files, library_files, own_engine_files
from decoding.site.version_folders import ensure_version

NOT_WRITTEN = "The files for browsers could not be written to {cache}: {reason}."
NO_OFFER = "--browser on: the page does not offer to compute in the browser."
_FACTS_FILE = "facts.json"
_SUM_DIGITS = 12


def files_to_offer(entry: Entry) -> tuple[Path, dict[str, Any]] | None:
    """The files of a page that offers this model to browsers; None, and why on standard output, where it cannot."""
    try:
        return ensure_page_files(entry, lambda message, _: print(message, flush=True))
    except GreedyscopeError as error:
        print(f"{NO_OFFER} {error}", flush=True)
    except Exception:  # a mistake of ours, which is to be seen, and no reason to have no page
        logging.getLogger(__name__).exception(NO_OFFER)
    return None


def ensure_page_files(entry: Entry, report: Report = no_report) -> tuple[Path, dict[str, Any]]:
    """The folder of a model's files and of the engine's scripts, made first if it is not in the cache, and what a
    browser has to know. The folder stays until this process ends. Raises ModelError for a model that no browser
    computes here, for libraries that could not be fetched, and for a disk that is full.
    """
    cache = cache_folder() / "in-browser"
    key = _key(entry, report)
    graph, made = key.partition(" ")[0], key.rpartition(" ")[2]
    folder = cache / f"{graph}-{made[:_SUM_DIGITS]}"
    try:
        ensure_version(
            folder, key, lambda other: _model_of(other) == entry.name, lambda new: _write(new, entry, report)
        )
        return folder, json.loads((folder / _FACTS_FILE).read_text("utf-8"))
    except OSError as error:
        raise ModelError(NOT_WRITTEN.format(cache=cache, reason=reason_of(error))) from error


def _key(entry: Entry, report: Report) -> str:
    """What the files are made of: the graph's name, which holds the model's sum; the model's; and a sum of all else."""
    if not holds_gguf(entry):  # said before anything is fetched
        raise ModelError(model_files.NO_SITE.format(model=entry.name, reason=model_files.NO_GGUF))
    source = find_source(entry, report)
    try:
        name = ensure_graph(source, report=report).folder.name
    except NoGraphError as error:
        raise ModelError(model_files.NO_SITE.format(model=entry.name, reason=str(error))) from error
    made = hashlib.sha256()
    for file in (model_files.__file__, unpacking.__file__):
        made.update(Path(file).read_bytes())
    for place, data in sorted(own_engine_files().items()):
        made.update(f"{place} {len(data)} ".encode() + data)
    for package in LIBRARIES:
        made.update(package.sha512.encode())
    return f"{name} {entry.name} {made.hexdigest()}"


def _model_of(key: str) -> str:
    return key.partition(" ")[2].rpartition(" ")[0]


def _write(folder: Path, entry: Entry, report: Report) -> None:
    libraries = library_files()
    facts = model_files.write_model(entry, folder, libraries, report)
    for name, data in engine_files(libraries).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    (folder / _FACTS_FILE).write_text(json.dumps(facts), "utf-8")
