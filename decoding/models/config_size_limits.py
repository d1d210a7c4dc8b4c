"""Counts in a config.json that no real model reaches, refused before anything is made for each.

Owns the limits. A configuration of transformers makes a list of its layers while it is read, and a damaged or malicious
file that says 2**31 of them would take the memory of the machine. Knows no family and needs no torch.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from decoding.errors import ModelError
from decoding.messages import Message
from decoding.models.json_files import read_json

MOST = {"layer": 2_000, "head": 20_000, "expert": 20_000}
"""By a part of a field's name: the largest models have some hundred layers and heads, and some hundred experts."""
_COUNTS = ("num_", "n_", "_layers", "_heads", "_experts")
_LARGEST_FILE = 2**24


def check_counts(model: str, folder: Path) -> None:
    """Raises ModelError for a count beyond its limit. What is no JSON object is left to whoever reads it."""
    path = folder / "config.json"
    try:
        parsed = read_json(path) if path.stat().st_size <= _LARGEST_FILE else None
    except (OSError, ValueError):
        return
    for name, value in _numbers(parsed):
        most = next((most for part, most in MOST.items() if part in name and _counts(name)), None)
        if most is not None and value > most:
            raise ModelError(
                Message("model.counts", model=model, name=name[:60], value=str(value)[:40], most=f"{most:,}")
            )


def _counts(name: str) -> bool:
    return any(name.startswith(part) or name.endswith(part) for part in _COUNTS)


def _numbers(parsed: Any, depth: int = 0) -> Iterator[tuple[str, int]]:
    """The whole numbers of a configuration and of those within it, with their names."""
    if not isinstance(parsed, dict) or depth > 4:
        return
    for name, value in parsed.items():
        if type(value) is int:
            yield name, value
        yield from _numbers(value, depth + 1)
