"""Reads a model's generation_config.json: greedy decoding needs the ids that end a text.

Owns which errors in it are tolerated. transformers refuses a whole model for settings that greedy decoding never uses.
Knows no network.
"""

import json
from pathlib import Path
from typing import Any

from transformers import GenerationConfig, PreTrainedConfig
from transformers.utils import GENERATION_CONFIG_NAME


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
        said = json.loads(file.read_text("utf-8"))
        if not isinstance(said, dict):
            raise ValueError(file.name) from None
    settings = GenerationConfig()  # type: ignore[no-untyped-call]
    for name, value in said.items():
        if name in vars(settings):  # set one by one, values are not validated
            setattr(settings, name, value)
    return settings


def ids_of(said: Any) -> frozenset[int]:
    """The ids of a setting that is one id, a list or nothing; values that are no ids, such as −1, are left out."""
    several = said if isinstance(said, list | tuple) else [said]
    return frozenset(each for each in several if isinstance(each, int) and not isinstance(each, bool) and each >= 0)
