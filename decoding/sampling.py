"""Sampling, and going on past the end of a text: how a step's token is picked from its logits under a `PickRule`.

Owns the filters (temperature, top-k, top-p, in transformers' own order and with its edge cases), the draw, and the
random number of each step. Uses NumPy only. Knows no network, no run and no text. The candidates that a step
shows are cut in `decoding.ranking`, and their probabilities stay those of `decoding.softmax`, at temperature 1 over the
whole vocabulary.
"""

import itertools
import math
from collections.abc import Collection
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from decoding.errors import ModelError
from decoding.greedy import Read
from decoding.messages import Message
from decoding.ranking import Logits
from decoding.record.pick_rule import ARGMAX, Draw, PickRule, Sampling
from decoding.record.step import ScoredToken, StepScores


class Scorer(Protocol):
    """What is used of a network; see `decoding.engines.network_protocol.Network`."""

    def scores(self, logits: Any, top_k: int, picked_id: int | None = None) -> StepScores: ...
    def to_numpy(self, logits: Any) -> Logits: ...


Probabilities = NDArray[np.float64]


def reader(network: Scorer, rule: PickRule, *, first: int = 0) -> Read:
    """A function for `decoding.greedy.greedy_loop` that reads the network's scores and picks by `rule`. It is called
    once for each step, from step `first` on.
    """
    if rule == ARGMAX:
        return network.scores
    indexes = itertools.count(first)
    return lambda logits, top_k, picked_id: read_picked(
        network, logits, top_k, picked_id, index=next(indexes), rule=rule
    )


def read_picked(
    network: Scorer, logits: Any, top_k: int, forced_id: int | None, *, index: int, rule: PickRule
) -> StepScores:
    """The scores of step `index` with its pick: the forced one, or by the rule. Raises ModelError for logits that are
    not finite, and if nothing is left to pick.
    """
    if forced_id is not None:
        return network.scores(logits, top_k, forced_id)
    if rule.sampling is not None and rule.draws_at(index):
        probabilities = distribution(network.to_numpy(logits), rule.sampling, rule.passed_ids)  # (vocabulary,)
        number = random_number(rule.sampling.seed, index)
        picked_id = draw(probabilities, number)
        scores = network.scores(logits, top_k, picked_id)
        made_from = Draw(
            probabilities=tuple(probabilities[list(scores.token_ids)].tolist()),
            picked=float(probabilities[picked_id]),
            kept=int(np.count_nonzero(probabilities)),
            number=number,
        )
        return replace(scores, draw=made_from, past_end=scores.token_ids[0] in rule.passed_ids)
    scores = network.scores(logits, top_k)
    if scores.token_ids[0] not in rule.passed_ids:
        return scores
    return pass_over(scores, rule.passed_ids) or _pass_over_more(network, logits, top_k, rule.passed_ids)


def pass_over(scores: StepScores, passed_ids: Collection[int]) -> StepScores | None:
    """The scores with the most probable candidate that is none of `passed_ids` as the pick; None if there is none."""
    for rank, token_id in enumerate(scores.token_ids):
        if token_id not in passed_ids:
            return replace(scores, picked=ScoredToken(token_id, scores.logprobs[rank], rank), past_end=True)
    return None


def _pass_over_more(network: Scorer, logits: Any, top_k: int, passed_ids: Collection[int]) -> StepScores:
    """`pass_over` where all `top_k` candidates are passed over."""
    more = pass_over(network.scores(logits, top_k + len(passed_ids)), passed_ids)
    if more is None:
        raise ModelError(Message("draw.left"))
    return replace(more, token_ids=more.token_ids[:top_k], logprobs=more.logprobs[:top_k])


# ---- the draw


def random_number(seed: int, index: int) -> float:
    """The number that decides step `index`: at least 0, less than 1.

    Each run has one seeded generator, NumPy's PCG64 (O'Neill 2014), whose n-th number belongs to step n, whether or not
    the steps before it were drawn. So a branch draws as its run did, and runs in one batch cannot disturb each other.
    """
    return float(np.random.Generator(np.random.PCG64(seed).advance(index)).random())


def draw(probabilities: Probabilities, number: float) -> int:
    """The id whose share of the cumulated distribution holds `number`.

    The sum is in float64 and in the order of ids, so the float32 noise in which engines differ moves each border by as
    little, and never swaps two tokens. The same seed gives the same text on every engine of a machine, except where the
    number is that close to a border.
    """
    borders = probabilities.cumsum()  # (vocabulary,)
    picked = int(np.searchsorted(borders, number * borders[-1], side="right"))
    return min(picked, int(np.flatnonzero(probabilities)[-1]))  # rounding could reach the last border


def distribution(logits: Logits, sampling: Sampling, passed_ids: Collection[int] = ()) -> Probabilities:
    """What a step is drawn from: the probabilities after all filters, shape (vocabulary,); 0 for a token that was cut.

    `logits` has the shape (vocabulary,) and the dtype float32, as in transformers, whose results these equal. Raises
    ModelError for logits that are not finite, and if nothing is left.
    """
    scores = np.array(logits, np.float32)  # (vocabulary,), a copy
    if not np.isfinite(scores.max()):
        raise ModelError(Message("model.nan"))
    # 1. never picked: transformers' SuppressTokensLogitsProcessor
    scores[list(passed_ids)] = -np.inf
    if scores.max() == -np.inf:
        raise ModelError(Message("draw.left"))
    # 2. temperature
    with np.errstate(over="ignore"):
        scores = scores / np.float32(sampling.temperature)  # (vocabulary,)
    # 3. top-k: tokens as probable as the last one that stays, stay too
    if 0 < sampling.top_k < len(scores):
        threshold = np.partition(scores, -sampling.top_k)[-sampling.top_k]
        scores[scores < threshold] = -np.inf
    # 4. top-p
    if sampling.top_p < 1:
        scores[_beyond_top_p(scores, sampling.top_p)] = -np.inf
    return _softmax(scores)


def _beyond_top_p(scores: Logits, top_p: float) -> NDArray[np.int64]:
    """The ids that top-p cuts: from the least probable on, those whose sum is at most 1 − p; never the last one.

    As in transformers, of two equally probable tokens the lower id goes first, and probabilities, sums and the bound
    are compared in float32.
    """
    ids = np.flatnonzero(scores > -np.inf)
    ids = ids[np.argsort(scores[ids], kind="stable")]  # (kept,), least probable first
    sums = _softmax(scores[ids]).astype(np.float32).cumsum(dtype=np.float64).astype(np.float32)
    cut = sums <= np.float32(1 - top_p)
    cut[-1] = False
    beyond: NDArray[np.int64] = ids[cut]
    return beyond


def _softmax(scores: Logits) -> Probabilities:
    with np.errstate(under="ignore", invalid="ignore"):
        weights = np.exp(np.subtract(scores, scores.max(), dtype=np.float64))  # (ids,)
    total = float(weights.sum())
    if not math.isfinite(total):
        raise ModelError(Message("model.nan"))
    shares: Probabilities = weights / total
    return shares
