"""The scores of a class's vote: which candidate a typed answer is, what an answer is worth, and a question's result.

Owns the arithmetic, which is that of "Predict, then reveal" (assets/panel/core/guesses.js): the mean rank, the share
that was right, and the bits per token of what was guessed. Knows no session and no student.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from math import log2
from typing import Any

from decoding.requests.vote_request import Answer, Option, Reveal

LEAST_PROBABILITY = 2.0**-149
"""The smallest number of float32, for the logarithm of a probability that was rounded to 0."""
MAX_OTHERS = 20
"""Of the typed answers that no candidate is, the most frequent ones are kept."""

_WAYS: tuple[Callable[[str], str], ...] = (str, str.strip, lambda text: text.strip().lower())


@dataclass(frozen=True, slots=True)
class Worth:
    """What an answer is worth. For one that is no candidate, `rank` and `bits` are bounds: they are at least that."""

    rank: int
    bits: float
    is_right: bool
    is_bound: bool


@dataclass(slots=True)
class Score:
    """Sums over answers, so that a mean can be taken at any time."""

    answers: int = 0
    right: int = 0
    ranks: int = 0
    """Ranks counted from 1."""
    bits: float = 0.0
    is_bound: bool = False

    def add(self, worth: Worth) -> None:
        self.answers += 1
        self.right += worth.is_right
        self.ranks += worth.rank + 1
        self.bits += worth.bits
        self.is_bound |= worth.is_bound

    def as_json(self) -> dict[str, Any]:
        return {
            "answers": self.answers,
            "right": self.right,
            "ranks": self.ranks,
            "bits": self.bits,
            "is_bound": self.is_bound,
        }


@dataclass(frozen=True, slots=True)
class Result:
    """A revealed question. `votes` are counted in the order of the labels, `others` by what was typed."""

    step: int
    labels: tuple[str, ...]
    reveal: Reveal
    votes: tuple[int, ...]
    others: tuple[tuple[str, int], ...]
    other_votes: int
    score: Score

    def without_texts(self) -> "Result":
        """The same without what a typed answer is held against, which is as long as everything else together."""
        options = tuple(replace(option, text=None) for option in self.reveal.options)
        return replace(self, reveal=replace(self.reveal, options=options))

    def as_json(self) -> dict[str, Any]:
        """All of it but the text before the step."""
        rows = zip(self.labels, self.reveal.options, self.votes, strict=True)
        return {
            "number": self.reveal.number,
            "step": self.step,
            "options": [
                {"label": label, "rank": option.rank, "probability": option.probability, "votes": votes}
                for label, option, votes in rows
            ],
            "picked": self.reveal.picked,
            "beyond": self.reveal.beyond,
            "others": [list(other) for other in self.others],
            "other_votes": self.other_votes,
            "score": self.score.as_json(),
        }


def match_typed(options: Sequence[Option], typed: str) -> int | None:
    """The place of the candidate that was typed: as it is, without its space in front, then in capitals or without. Of
    several, the most probable one; None if there is none.
    """
    places = sorted(range(len(options)), key=lambda place: options[place].rank)
    for way in _WAYS:
        wanted = way(typed)
        for place in places:
            text = options[place].text
            if text is not None and wanted != "" and way(text) == wanted:
                return place
    return None


def place_of(answer: Answer, reveal: Reveal) -> int | None:
    return match_typed(reveal.options, answer.text) if answer.place is None else answer.place


def worth_of(place: int | None, reveal: Reveal) -> Worth:
    """What a guess is worth: the candidate at a place, or, for None, a token that is not among the candidates."""
    if place is None:
        bits = -log2(max(reveal.beyond, LEAST_PROBABILITY))
        return Worth(rank=len(reveal.options), bits=bits, is_right=False, is_bound=True)
    option = reveal.options[place]
    bits = -log2(max(option.probability, LEAST_PROBABILITY))
    return Worth(rank=option.rank, bits=bits, is_right=place == reveal.picked, is_bound=False)


def count_votes(step: int, labels: tuple[str, ...], reveal: Reveal, answers: Iterable[Answer]) -> Result:
    """The result of a question, from all its answers. It names no student."""
    votes, others, score = Counter[int](), Counter[str](), Score()
    for answer in answers:
        place = place_of(answer, reveal)
        score.add(worth_of(place, reveal))
        if place is None:
            others[answer.text.strip()] += 1
        else:
            votes[place] += 1
    return Result(
        step=step,
        labels=labels,
        reveal=reveal,
        votes=tuple(votes[place] for place in range(len(labels))),
        others=tuple(others.most_common(MAX_OTHERS)),
        other_votes=others.total(),
        score=score,
    )
