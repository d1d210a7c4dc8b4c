"""The classroom loop: greedy decoding in ids and probabilities, nothing else.

Owns the loop over steps, forced picks included. Knows no text, no page, no clock and no settings. `forward` reads ids
and returns the logits that follow the last of them; everything about models and devices is behind it.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from decoding.record.step import NO_PICKS, StepScores
from decoding.softmax import read_scores

Forward = Callable[[Sequence[int], Any], tuple[Any, Any]]
"""(ids to read, cache or None) → (logits after the last of them, shape (vocabulary,); the cache with these ids in
it).
"""
Read = Callable[[Any, int, int | None], StepScores]
"""See `decoding.softmax.read_scores`. Logits on a GPU are read on the GPU."""


def greedy_loop(
    forward: Forward,
    unread: Sequence[int],
    *,
    max_new_tokens: int,
    top_k: int,
    end_ids: Collection[int] = (),
    forced: Mapping[int, int] = NO_PICKS,
    first: int = 0,
    cache: Any = None,
    read: Read = read_scores,
) -> Iterator[StepScores]:
    """Yield the scores of each step, and continue with its most probable token, or with the id that `forced` has for
    it.

    Starts at step `first`, with the `unread` ids that follow those in `cache`. Ends after step `max_new_tokens`, or
    after a step that picks one of `end_ids`. Raises ModelError for logits that are not finite. Closing the iterator
    ends the loop.
    """
    for index in range(first, max_new_tokens):
        logits, cache = forward(unread, cache)  # (vocabulary,)
        scores = read(logits, top_k, forced.get(index))  # picks the first candidate: the most probable, or the lower id
        yield scores
        if scores.picked_id in end_ids:
            return
        unread = [scores.picked_id]


def score_rows(
    rows: Iterable[Any], token_ids: Sequence[int], *, top_k: int, read: Read = read_scores
) -> Iterator[StepScores]:
    """Yield the scores of each token of a given text. `rows` are the logits before each of its ids, each of shape
    (vocabulary,). Raises ModelError for logits that are not finite.
    """
    for logits, token_id in zip(rows, token_ids, strict=True):
        yield read(logits, top_k, token_id)
