"""A model's generation_config.json, read for what greedy decoding needs of it: the ids that end a text.

Owns how much of it may be wrong. transformers refuses a file for settings that greedy decoding never looks at, and then
the model with it. Knows no network.
"""

import json
from pathlib import Path
from typing import Any

from transformers import GenerationConfig, PreTrainedConfig
from transformers.utils import GENERATION_CONFIG_NAME

from decoding.models.spec import row_of


def read_settings(folder: Path, config: PreTrainedConfig) -> GenerationConfig:
    """A folder's settings; where it has none, those of its configuration. Raises ValueError for a file that is no
    JSON object.
    """
    file = folder / GENERATION_CONFIG_NAME
    if not file.exists():
        return GenerationConfig.from_model_config(config)
    try:
        return GenerationConfig.from_pretrained(folder, local_files_only=True)
    except Exception:  # a value, or two that do not go together
        said = json.loads(file.read_text("utf-8"))
        if not isinstance(said, dict):
            raise ValueError(file.name) from None
    settings = GenerationConfig()  # type: ignore[no-untyped-call]
    for name, value in said.items():
        if name in vars(settings):  # set after it was made, nothing is checked against anything
            setattr(settings, name, value)
    return settings


def ids_of(said: Any, rows: int) -> frozenset[int]:
    """The ids of a setting that may be one, a list or nothing; what is no id of a network of so many `rows` is left
    out, as −1 is.
    """
    several = said if isinstance(said, list | tuple) else [said]
    return frozenset(one for each in several if (one := row_of(each, rows=rows)) is not None)
