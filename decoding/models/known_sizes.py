"""Sizes of models that the Hub has reported, for the list of models and for the check that they fit.

Owns the figures of this process. Knows no network.
"""

from dataclasses import replace

from decoding.models.catalogue import Entry

_known: dict[tuple[str, str, str], tuple[int, int]] = {}
"""Parameters and download bytes by repository, revision and file."""


def record_size(entry: Entry, *, parameters: int, download_bytes: int) -> None:
    """Keep what the Hub reported of a model; 0 parameters are unknown ones."""
    _known[entry.repository, entry.revision, entry.file] = parameters, download_bytes


def with_known_size(entry: Entry) -> Entry:
    """`entry` with the figures that were recorded; those of the catalogue take precedence."""
    parameters, size = _known.get((entry.repository, entry.revision, entry.file), (0, 0))
    return replace(entry, parameters=entry.parameters or parameters, download_bytes=entry.download_bytes or size)
