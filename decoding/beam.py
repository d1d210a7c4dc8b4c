"""Beam search in ids and log-probabilities: which beams of a step go on, end or are dropped.

Owns the search, nothing else: no tensor, no text and no engine. It is the search of transformers'
`generate(num_beams=…, do_sample=False)` with its defaults (`length_penalty=1`, `early_stopping=False`):

- Of all tokens that could follow a step's beams, the `num_beams` most probable texts go on. One that ends in an
  end-of-text token is set aside, if it is among the first `num_beams`, and the next one goes on in its place.
- A finished text is judged by its log-probability per token. The search is over at the last step, or when `num_beams`
  texts have ended and the best running one, as it is now, is no better than the worst of them.
- **Ties**: of two equally probable texts, the one whose beam was more probable a step before comes first; of two that
  continue the same beam, the lower token id. Of two finished texts with one score, the one that ended first is the
  better. (transformers leaves ties to `torch.topk`, which promises no order.)
"""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from decoding.record.step import StepScores


@dataclass(frozen=True, slots=True)
class Beam:
    """A text that was kept at a step.

    `parent` is its place among the beams of the step before (0 at the first step: the prompt). `logprob` and `rank` are
    those of its last token where it stands, `total` is the log-probability of all its tokens, in nats.
    """

    parent: int
    token_id: int
    logprob: float
    rank: int
    total: float
    has_ended: bool = False


@dataclass(frozen=True, slots=True)
class BeamStep:
    """The beams of one step, most probable first, and the scores of the tokens that could follow each beam of the step
    before, by its place there (None for one that had ended).
    """

    beams: tuple[Beam, ...]
    scores: tuple[StepScores | None, ...]


class Rows(Protocol):
    """Sequences that begin with one prompt and part: what computes the scores that a search asks for."""

    def begin(self, top_k: int) -> StepScores:
        """Read the prompt: the scores of the token after it."""
        ...

    def advance(self, picks: Sequence[tuple[int, int]], top_k: int) -> Sequence[StepScores]:
        """New rows from the present ones, and the scores of the token after each.

        A pick is the number of the row to go on from, and the id to read there. Rows that no pick names are dropped.
        """
        ...


def beam_loop(
    rows: Rows, *, num_beams: int, max_new_tokens: int, top_k: int, end_ids: Collection[int] = ()
) -> Iterator[BeamStep]:
    """Search, and yield each step as soon as it is known; its scores hold the `top_k` most probable tokens or more.

    Raises what the rows raise. Closing the iterator ends the search.
    """
    top_k = max(top_k, scores_needed(num_beams, end_ids))
    steps: list[BeamStep] = []
    scores: tuple[StepScores | None, ...] = (rows.begin(top_k),)
    while True:
        is_last = len(steps) + 1 == max_new_tokens
        before = steps[-1].beams if steps else ()
        beams = next_beams(before, scores, num_beams=num_beams, end_ids=end_ids, is_last=is_last)
        steps.append(BeamStep(beams, scores))
        yield steps[-1]
        running = [place for place, beam in enumerate(beams) if not beam.has_ended]
        finished = finished_beams(steps, num_beams=num_beams, max_new_tokens=max_new_tokens)
        if is_last or not running:
            return
        if len(finished) == num_beams and beams[running[0]].total / len(steps) <= finished[-1].score:
            return
        had_rows = [place for place, tops in enumerate(scores) if tops is not None]
        picks = [(had_rows.index(beams[place].parent), beams[place].token_id) for place in running]
        read = iter(rows.advance(picks, top_k))
        scores = tuple(None if beam.has_ended else next(read) for beam in beams)


def scores_needed(num_beams: int, end_ids: Collection[int]) -> int:
    """How many tokens a search has to know after each beam: enough to go on where the first ones all end the text."""
    return max(2, 1 + len(end_ids)) * num_beams


def next_beams(
    before: Sequence[Beam],
    scores: Sequence[StepScores | None],
    *,
    num_beams: int,
    end_ids: Collection[int],
    is_last: bool,
) -> tuple[Beam, ...]:
    """The beams of a step, most probable first, from those before it (none at the first step) and their `scores`."""
    following = [
        Beam(place, token_id, logprob, rank, (before[place].total if before else 0.0) + logprob, token_id in end_ids)
        for place, tops in enumerate(scores)
        if tops is not None
        for rank, (token_id, logprob) in enumerate(zip(tops.token_ids, tops.logprobs, strict=True))
        if logprob > -math.inf
    ]
    following.sort(key=lambda beam: (-beam.total, beam.parent, beam.token_id))
    if is_last:
        return tuple(following[:num_beams])
    ended = {place for place, beam in enumerate(following[:num_beams]) if beam.has_ended}
    running = [place for place, beam in enumerate(following) if not beam.has_ended][:num_beams]
    return tuple(following[place] for place in sorted(ended.union(running)))


@dataclass(frozen=True, slots=True)
class Finished:
    """A finished text by the step and the place of its last beam. `score` is its log-probability per token (nats)."""

    step: int
    place: int
    score: float


def finished_beams(steps: Sequence[BeamStep], *, num_beams: int, max_new_tokens: int) -> list[Finished]:
    """The best finished texts of a search so far, at most `num_beams`, best first."""
    found = [
        Finished(step, place, beam.total / (step + 1))
        for step, each in enumerate(steps)
        for place, beam in enumerate(each.beams)
        if beam.has_ended or step + 1 == max_new_tokens
    ]
    return sorted(found, key=lambda text: -text.score)[:num_beams]


def path_to(steps: Sequence[BeamStep], step: int, place: int) -> list[int]:
    """The places of the beams that lead to one, from the first step to its own."""
    places = [place]
    for each in reversed(steps[1 : step + 1]):
        places.append(each.beams[places[-1]].parent)
    return places[::-1]


def cut_scores(step: BeamStep, top_k: int) -> BeamStep:
    """A step whose scores hold no more than `top_k` tokens: what a search needed beyond them is not kept."""
    scores = tuple(
        tops and replace(tops, token_ids=tops.token_ids[:top_k], logprobs=tops.logprobs[:top_k]) for tops in step.scores
    )
    return replace(step, scores=scores)
