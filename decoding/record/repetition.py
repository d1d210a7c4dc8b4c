"""Repetition in a list of ids: where a text begins to go in circles.

Owns what counts as a loop. Knows ids alone: no texts, no runs and no models.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from operator import eq

from pydantic import ConfigDict

SHORT_PERIOD, SHORT_REPEATS, LONG_REPEATS = 2, 3, 2
"""A block of up to two ids is a loop once it stands three times in a row ("no, no" is none); a longer one, twice."""


@dataclass(frozen=True, slots=True)
class Loop:
    """A block of `period` ids that stands `repeats` times back to back, whole each time; the first at `start`."""

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    start: int
    period: int
    repeats: int


def find_loops(token_ids: Sequence[int]) -> list[Loop]:
    """Every loop, in the order of their beginnings.

    Of the periods that a span has, the smallest counts. A loop lies within another, and is left out, where the other
    has not ended yet: an unfinished last occurrence still belongs to it.
    """
    ids = list(token_ids)
    spans: dict[tuple[int, int], Loop] = {}
    # Shorter periods first, so that of two that fill the same span the smallest stays.
    for period in range(1, len(ids) // LONG_REPEATS + 1):
        for start, end in _spans(ids, period):
            repeats = (end - start) // period
            enough = SHORT_REPEATS if period <= SHORT_PERIOD else LONG_REPEATS
            if repeats >= enough:
                spans.setdefault((start, end), Loop(start, period, repeats))
    outer, reached = [], 0
    for start, end in sorted(spans, key=lambda span: (span[0], -span[1])):
        if end > reached:  # nothing that begins as early goes on as long
            outer.append(spans[start, end])
            reached = end
    return outer


def _spans(ids: list[int], period: int) -> Iterator[tuple[int, int]]:
    """Start and end of each longest stretch in which every id equals the one `period` before it."""
    start = 0
    for same, stretch in groupby(map(eq, ids, islice(ids, period, None))):
        length = sum(1 for _ in stretch)
        if same:
            yield start, start + length + period
        start += length
