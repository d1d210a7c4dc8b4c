"""Whether a model that is on this machine has a chat template, from its files alone: neither weights nor network.

Owns where to look. What cannot be read has none here; loading it says why.
"""

import os
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from decoding.errors import ModelError
from decoding.models import hub, starter
from decoding.models.cache import cache_folder
from decoding.models.catalogue import Entry
from decoding.models.chat_template import CONFIG, make_chat_template, read_chat_template
from decoding.models.gguf import read_gguf
from decoding.models.json_files import read_json
from decoding.models.model_paths import is_gguf


def has_chat_template(entry: Entry) -> bool:
    """Whether its files hold a chat template; False for a model that is not here."""
    if entry.name == starter.STARTER_ID:
        return _of_folder(cache_folder() / starter.FOLDER_NAME)
    place = hub.cached(entry) if entry.repository else Path(os.path.expanduser(entry.name))
    if place is None:
        return False
    with suppress(OSError, ValueError):
        return _of_file(place, place.stat().st_mtime_ns) if is_gguf(place) else _of_folder(place)
    return False


def _of_folder(folder: Path) -> bool:
    names = {}
    with suppress(OSError, ValueError):
        names = read_json(folder / CONFIG)
    return read_chat_template(folder, names if isinstance(names, dict) else {}) is not None


@lru_cache(maxsize=64)
def _of_file(path: Path, _written: int) -> bool:
    with suppress(ModelError):
        return make_chat_template(read_gguf(path).metadata.get("tokenizer.chat_template"), {}) is not None
    return False
