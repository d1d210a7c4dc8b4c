"""Shortened texts: what a model says next where a part of a text is left out, for many parts of one text.

Owns how the passes over such texts are made: the beginning that they share with the whole text is read once, where the
network's cache can be cropped; an engine with a method `scores_without` does it elsewhere, and any other without a
network here scores each text by itself. Knows ids alone.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from decoding.cancellation import raise_if_cancelled
from decoding.engines import Engine
from decoding.engines.local import pieces
from decoding.record.step import StepScores

Span = tuple[int, int]
"""The first position of a part that is left out, counted from 0, and how many ids it has."""


def scores_without(
    engine: Engine, token_ids: Sequence[int], spans: Sequence[Span], wanted_ids: Sequence[int]
) -> Iterator[tuple[StepScores, ...]]:
    """Yield for each span the scores of the token that follows `token_ids` without it: one for each of `wanted_ids`,
    whose `picked` is that id. The ids behind a span move up, as they would in a shorter text.

    `spans` are in ascending order; each leaves at least one id. Raises what `Engine.score` raises. Thread-safe if the
    engine is.
    """
    if own := getattr(engine, "scores_without", None):
        yield from own(token_ids, spans, wanted_ids)
        return
    network = getattr(engine, "network", None)
    if network is not None:
        yield from _in_passes(network, token_ids, spans, wanted_ids)
        return
    for first, count in spans:
        raise_if_cancelled()
        text = [*token_ids[:first], *token_ids[first + count :]]
        yield tuple(next(iter(engine.score(text, [wanted], top_k=1))) for wanted in wanted_ids)


def _in_passes(
    network: Any, token_ids: Sequence[int], spans: Sequence[Span], wanted_ids: Sequence[int]
) -> Iterator[tuple[StepScores, ...]]:
    starts: list[int] = [
        first if first + count < len(token_ids) else first - 1 for first, count in spans
    ]  # something is read
    cache, most = None, max(starts, default=0)
    if most:
        _, cache = _read(network, token_ids[:most], None)  # of the whole text: each part shares its beginning
        cache = cache if network.can_crop(cache) else None
    for (first, count), start in zip(spans, starts, strict=True):
        shared = start if cache is not None else 0
        unread = [*token_ids[shared:first], *token_ids[first + count :]]
        logits, _ = _read(network, unread, network.copy(cache, shared) if shared else None)
        yield tuple(network.scores(logits, 1, wanted) for wanted in wanted_ids)


def _read(network: Any, token_ids: Sequence[int], cache: Any) -> tuple[Any, Any]:
    """The logits after the last id, and the cache with all of them in it."""
    for piece in pieces(token_ids, network.max_read):
        raise_if_cancelled()
        logits, cache = network.read(piece, cache)
    return logits[-1], cache
