"""Repetition: finds the loops of a generated text in its ids.

Owns what counts as a loop. Knows ids alone: no texts, no runs and no models.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from operator import eq

from decoding.errors import RequestError
from decoding.messages import Message
from decoding.record.json_types import json_type_of

SHORT_PERIOD, SHORT_REPEATS, LONG_REPEATS = 2, 3, 2
"""A block of one or two ids is a loop if it occurs three times in a row ("no, no" is not one); a longer block,
twice.
"""


@dataclass(frozen=True, slots=True)
class Loop:
    """A block of `period` ids that occurs `repeats` times back to back, complete each time. `start` is the index of its
    first id.
    """

    start: int
    period: int
    repeats: int


def find_loops(token_ids: Sequence[int]) -> list[Loop]:
    """The loops of a list of ids, in the order of their starts.

    One or two ids are a loop where they occur at least three times in a row, three or more ids where they occur twice.
    Each loop has its smallest period. A loop within another one is left out, also if it is within the other's last,
    incomplete repetition. Raises RequestError for anything but ids in a list.

    >>> find_loops([7, 1, 2, 1, 2, 1, 2, 9])
    [Loop(start=1, period=2, repeats=3)]
    """
    try:
        ids = list(token_ids)
    except TypeError:
        raise RequestError(Message("given.ids", type=json_type_of(token_ids))) from None
    spans: dict[tuple[int, int], Loop] = {}
    # Shorter periods first, so that a span keeps its smallest period.
    for period in range(1, len(ids) // LONG_REPEATS + 1):
        for start, end in _spans(ids, period):
            repeats = (end - start) // period
            enough = SHORT_REPEATS if period <= SHORT_PERIOD else LONG_REPEATS
            if repeats >= enough:
                spans.setdefault((start, end), Loop(start, period, repeats))
    outer, reached = [], 0
    for start, end in sorted(spans, key=lambda span: (span[0], -span[1])):
        if end > reached:  # no loop that starts as early ends as late
            outer.append(spans[start, end])
            reached = end
    return outer


def _spans(ids: list[int], period: int) -> Iterator[tuple[int, int]]:
    """(start, end) of each longest stretch in which every id equals the one `period` before it."""
    start = 0
    for same, stretch in groupby(map(eq, ids, islice(ids, period, None))):
        length = sum(1 for _ in stretch)
        if same:
            yield start, start + length + period
        start += length
