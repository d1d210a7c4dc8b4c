"""Leave one out: the passes over one text with a part of it left out, for many parts.

Owns which texts share a pass and what is read once. A part near the beginning: several texts share a pass, which reads
once what they begin with. A part further on: the beginning before it is read once, where the network's cache can be
cropped, and what follows the part takes a pass. An engine with a method `scores_without` does it elsewhere, and any
other without a network here scores each text by itself. Knows ids alone.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

from decoding.cancellation import raise_if_cancelled
from decoding.engines import Engine
from decoding.engines.local_engine import pieces
from decoding.record.step import StepScores

PLACES = 2
"""The texts of a pass have at most this many times the ids of a pass: each text has a cache of its own."""
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
        while several := _sharing_a_pass(network, token_ids, spans):
            yield from _several_in_a_pass(network, token_ids, several, wanted_ids)
            spans = spans[len(several) :]
        yield from _after_the_beginning(network, token_ids, spans, wanted_ids)
        return
    for span in spans:
        raise_if_cancelled()
        text = _without(token_ids, span)
        yield tuple(next(iter(engine.score(text, [wanted], top_k=1))) for wanted in wanted_ids)


def _without(token_ids: Sequence[int], span: Span) -> list[int]:
    return [*token_ids[: span[0]], *token_ids[sum(span) :]]


def _sharing_a_pass(network: Any, token_ids: Sequence[int], spans: Sequence[Span]) -> Sequence[Span]:
    """The first of these spans whose texts share a pass; none if a pass for each is faster: a shared one saves all
    passes but one, and reads again what comes before the first span.
    """
    if not network.max_reread or not spans:
        return ()
    behind = accumulate(len(token_ids) - sum(span) for span in spans)  # ids that come after the first spans, in all
    most = sum(first + ids <= network.max_read for (first, _), ids in zip(spans, behind, strict=True))
    most = min(most, PLACES * network.max_read // len(token_ids))
    return spans[:most] if spans[0][0] < network.max_reread * (most - 1) else ()


def _several_in_a_pass(
    network: Any, token_ids: Sequence[int], spans: Sequence[Span], wanted_ids: Sequence[int]
) -> Iterator[tuple[StepScores, ...]]:
    raise_if_cancelled()
    several, _ = network.read_texts([_without(token_ids, span) for span in spans])
    for logits in several:
        raise_if_cancelled()  # between two readouts, too
        yield tuple(network.scores(logits, 1, wanted) for wanted in wanted_ids)


def _after_the_beginning(
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
