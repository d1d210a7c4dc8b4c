"""Reads a model's generation_config.json: greedy decoding needs the ids that end a text.

Owns which errors in it are tolerated. transformers refuses a whole model for settings that greedy decoding never uses.
Knows no network.
"""

from pathlib import Path
from typing import Any

from transformers import GenerationConfig, PreTrainedConfig
from transformers.utils import GENERATION_CONFIG_NAME

from decoding.models.json_files import read_json
from decoding.models.spec import row_of


def read_settings(folder: Path, config: PreTrainedConfig) -> GenerationConfig:
    """A folder's settings, or if it has none, those of its configuration. Raises ValueError if the file is not a JSON
    object.
    """
    file = folder / GENERATION_CONFIG_NAME
    if not file.exists():
        return GenerationConfig.from_model_config(config)
    try:
        return GenerationConfig.from_pretrained(folder, local_files_only=True)
    except Exception:  # an invalid value, or two that contradict each other
        parsed = read_json(file)
        if not isinstance(parsed, dict):
            raise ValueError(file.name) from None
    settings = GenerationConfig()  # type: ignore[no-untyped-call]
    for name, value in parsed.items():
        if name in vars(settings):  # set one by one, values are not validated
            setattr(settings, name, value)
    return settings


def ids_of(ids: Any, rows: int) -> frozenset[int]:
    """The ids of a setting that may be one, a list or nothing; what is no id of a network of so many `rows` is left
    out, as −1 is.
    """
    several = ids if isinstance(ids, list | tuple) else [ids]
    return frozenset(one for each in several if (one := row_of(each, rows=rows)) is not None)
