"""Reads a model's JSON files: every fault of their contents is a ValueError."""

import json
from pathlib import Path
from typing import Any


def parse_json(text: str | bytes) -> Any:
    """What a JSON text holds. Raises ValueError for any other text, and for one that is nested too deeply."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def read_json(path: Path) -> Any:
    """What a JSON file holds. Raises OSError, or ValueError as `parse_json` does."""
    return parse_json(path.read_text("utf-8"))
