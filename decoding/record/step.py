"""One step of a run: the scores of a forward pass, and the record that is made of them.

Owns `StepScores`, `Candidate` and `Step`. Knows no run, no model and no page. `decoding.record.consistency` checks the
numbers of a step that comes from outside.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import PlainSerializer, TypeAdapter

from decoding.record.pick_rule import Draw
from decoding.record.tokens import Hex, Token, TokenDecoder

NO_PICKS: Mapping[int, int] = MappingProxyType({})
"""The forced picks of a run without any."""
NO_ID = -1
"""The `token_id` in a record whose source gave no ids."""


def finite_or_none(number: float) -> float | None:
    """The number as JSON can hold it."""
    return number if math.isfinite(number) else None


Nats = Annotated[float, PlainSerializer(finite_or_none, when_used="json")]
"""JSON has no infinity and no NaN, so both are written as null: the log-probability of probability 0 is minus infinity,
and an entropy that the source did not give is NaN.
"""
LogSums = tuple[tuple[float, float], ...]
"""Pairs (1 / T, log Σ exp(logit / T) over the whole vocabulary) in nats, in ascending order of 1 / T, with T = 1 among
them.

A candidate's logit is its logprob plus the sum at T = 1; its log-probability at T is logit / T minus the sum at T.
"""


@dataclass(frozen=True, slots=True)
class ScoredToken:
    """A token that a person picked or that a given text contains: its log-probability (nats) and its rank in the whole
    vocabulary, 0 for the most probable.
    """

    token_id: int
    logprob: float
    rank: int


@dataclass(frozen=True, slots=True)
class StepScores:
    """The scores of one step.

    `token_ids` are the top ids with their `logprobs` (nats), most probable first, lower id first in a tie. `entropy`
    (nats) is that of the whole distribution; NaN if the engine cannot know it (a vLLM server). `picked` is None if
    argmax picked. `log_sums` is empty if the logits are unknown. `draw` and `past_end` are those of `Step`;
    a draw has the probabilities of all `token_ids`.
    """

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    entropy: float
    picked: ScoredToken | None = None
    log_sums: LogSums = ()
    draw: Draw | None = None
    past_end: bool = False

    @property
    def picked_id(self) -> int:
        """The id that the run continues with."""
        return self.picked.token_id if self.picked else self.token_ids[0]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A token that the model could have written. `rank` 0 is the most probable; `logprob` is in nats.

    `bytes` is set if the token is not a whole character (see `decoding.record.tokens.Token`).
    """

    token_id: int
    text: str
    probability: float
    logprob: Nats
    rank: int
    bytes: Hex = None

    @property
    def token(self) -> Token:
        return Token(self.token_id, self.text, self.bytes)


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a run.

    `index` counts from 0. `candidates` are the top ones, most probable first; `rest` is the probability of all others,
    so both sum to 1. `forced` says that argmax did not pick: a person did, or a draw, or the end of the text was passed
    over. `draw` is what the pick was drawn from, if it was drawn; `past_end` says that the most probable token ends the
    text and was passed over. `entropy` is in nats, over the whole vocabulary;
    it is NaN if the run's source did not give it. `margin` is the first probability minus the second. `log_sums` is
    empty if the run's source gave no logits.
    """

    index: int
    picked: Candidate
    forced: bool
    candidates: tuple[Candidate, ...]
    rest: float
    entropy: Nats
    margin: float
    log_sums: LogSums = ()
    draw: Draw | None = None
    past_end: bool = False

    @property
    def chosen(self) -> bool:
        """Whether a person chose this token, so that a request for the run has to name it."""
        return self.forced and self.draw is None and not self.past_end

    def to_json(self) -> str:
        """The step as one line of JSON Lines, without the newline."""
        return json_line(STEP, self)


STEP = TypeAdapter(Step)


def json_line(adapter: TypeAdapter[Any], record: Any) -> str:
    """A record as one line of JSON, without the newline. Infinite and NaN numbers are null."""
    # In an HTML page the text of a run must not look like a tag, so "<" is escaped.
    return adapter.dump_json(record, exclude_defaults=True).decode().replace("<", "\\u003c")


def make_candidate(decoder: TokenDecoder, pick: ScoredToken) -> Candidate:
    """A candidate from a scored token, with its text and probability."""
    token = decoder.token(pick.token_id)
    return Candidate(token.token_id, token.text, math.exp(pick.logprob), pick.logprob, pick.rank, token.bytes)


def make_step(decoder: TokenDecoder, readout: StepScores, *, index: int, top_k: int, forced: bool) -> Step:
    """The step that `scores` of at least two candidates give, with at most `top_k` of them. `decoder` gives the text of
    a token at the position of the step.
    """
    picks = map(ScoredToken, readout.token_ids[:top_k], readout.logprobs, range(top_k))
    candidates = tuple(make_candidate(decoder, pick) for pick in picks)
    first, *others = [math.exp(logprob) for logprob in readout.logprobs[: max(2, top_k)]]
    rank = readout.picked.rank if readout.picked else 0
    return Step(
        index=index,
        picked=make_candidate(decoder, readout.picked)
        if readout.picked and rank >= len(candidates)
        else candidates[rank],
        forced=forced,
        candidates=candidates,
        rest=max(0.0, 1 - math.fsum(candidate.probability for candidate in candidates)),
        entropy=readout.entropy,
        margin=first - others[0] if others else first,
        # The logits are float32, so more decimals would carry no information.
        log_sums=tuple((power, round(log_sum, 6)) for power, log_sum in readout.log_sums),
        draw=readout.draw and replace(readout.draw, probabilities=readout.draw.probabilities[: len(candidates)]),
        past_end=readout.past_end,
    )
