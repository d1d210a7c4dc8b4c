"""The tree of a beam search: the beams of each step, and which texts were finished.

Owns `BeamNode` and `BeamTree`, and the rules that a tree from outside has to keep. Knows no search and no model.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from pydantic import TypeAdapter

from decoding import limits
from decoding.messages import Message
from decoding.record.contradiction_error import ContradictionError
from decoding.record.step import Nats, Step, json_line
from decoding.record.tokens import Hex, Token

_NATS = 1e-4
"""Totals may be off by this much: a file holds a sum's parts, each rounded."""


@dataclass(frozen=True, slots=True)
class BeamNode:
    """One beam of one step.

    `parent` is its place among the beams of the step before (0 at the first step: the prompt). `logprob` and `rank` are
    those of its token where it stands; `total` is the log-probability of all its tokens, in nats. `ended`: its token
    ends the text, so no beam goes on from it.
    """

    parent: int
    token_id: int
    text: str
    logprob: Nats
    rank: int
    total: Nats
    bytes: Hex = None
    ended: bool = False

    @property
    def token(self) -> Token:
        return Token(self.token_id, self.text, self.bytes)


@dataclass(frozen=True, slots=True)
class _Line:
    beam_step: int
    beams: tuple[BeamNode, ...]
    finished: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class BeamTree:
    """All beams of a search: those of each step, the most probable first.

    `finished` are the finished texts by the step and the place of their last beam, the best first; the first is the
    winner.
    """

    steps: tuple[tuple[BeamNode, ...], ...]
    finished: tuple[tuple[int, int], ...]

    def path(self, step: int, place: int) -> list[int]:
        """The places of the beams that lead to one, from the first step to its own."""
        places = [place]
        for number in range(step, 0, -1):
            places.append(self.steps[number][places[-1]].parent)
        return places[::-1]

    def token_ids(self, step: int, place: int) -> tuple[int, ...]:
        """The tokens of a beam, from the first step on."""
        return tuple(beams[at].token_id for beams, at in zip(self.steps, self.path(step, place), strict=False))

    def score(self, step: int, place: int) -> float:
        """The log-probability per token of a beam, by which finished texts are compared (nats)."""
        return self.steps[step][place].total / (step + 1)

    def dropped_at(self, step: int, place: int) -> int | None:
        """The step at which a beam was dropped, because none of its continuations was among the best; None for one that
        went on, has ended, or was there at the end.
        """
        following = step + 1
        if self.steps[step][place].ended or following >= len(self.steps):
            return None
        return None if any(beam.parent == place for beam in self.steps[following]) else following

    def is_greedy(self, step: int, place: int) -> bool:
        """Whether a beam is what greedy decoding writes: each of its tokens was the most probable one in its place."""
        return all(beams[at].rank == 0 for beams, at in zip(self.steps, self.path(step, place), strict=False))

    def lines(self) -> list[str]:
        """A line of JSON Lines for each step, without newlines; the last one has the finished texts."""
        last = len(self.steps) - 1
        return [
            json_line(_LINE, _Line(number, beams, self.finished if number == last else ()))
            for number, beams in enumerate(self.steps)
        ]


_LINE = TypeAdapter(_Line)


def check_tree(tree: BeamTree, steps: Sequence[Step], *, max_new_tokens: int) -> None:
    """Check a tree against itself and the run that its winner is. Raises ContradictionError."""
    if len(tree.steps) > max_new_tokens:
        raise ContradictionError(Message("read.wrong.beam.steps", most=max_new_tokens))
    for number, beams in enumerate(tree.steps):
        before = tree.steps[number - 1] if number else None
        for beam in beams:
            parent = _parent_of(beam, before)
            if not math.isclose(beam.total, (parent.total if parent else 0.0) + beam.logprob, abs_tol=_NATS):
                raise ContradictionError(Message("read.wrong.beam.total"))
        if any(a.total < b.total - _NATS for a, b in pairwise(beams)):
            raise ContradictionError(Message("read.wrong.beam.order"))
        if sum(not beam.ended for beam in beams) > limits.MAX_BEAMS:
            raise ContradictionError(Message("read.wrong.beam.most", most=limits.MAX_BEAMS))
    _check_finished(tree, steps)


def _parent_of(beam: BeamNode, before: Sequence[BeamNode] | None) -> BeamNode | None:
    if beam.parent >= (1 if before is None else len(before)):
        raise ContradictionError(Message("read.wrong.beam"))
    if before is None:
        return None
    if before[beam.parent].ended:
        raise ContradictionError(Message("read.wrong.beam.ended"))
    return before[beam.parent]


def _check_finished(tree: BeamTree, steps: Sequence[Step]) -> None:
    if not tree.finished or len(set(tree.finished)) < len(tree.finished):
        raise ContradictionError(Message("read.wrong.beam.finished.twice"))
    for step, place in tree.finished:
        is_there = step < len(tree.steps) and place < len(tree.steps[step])
        if not is_there or (step + 1 < len(tree.steps) and not tree.steps[step][place].ended):
            raise ContradictionError(Message("read.wrong.beam.finished"))
    scores = [tree.score(step, place) for step, place in tree.finished]
    if any(a < b - _NATS for a, b in pairwise(scores)):
        raise ContradictionError(Message("read.wrong.beam.finished.order"))
    winner = tree.finished[0]
    if tree.token_ids(*winner) != tuple(step.picked.token_id for step in steps):
        raise ContradictionError(Message("read.wrong.beam.winner"))
    nodes = [beams[at] for beams, at in zip(tree.steps, tree.path(*winner), strict=False)]
    if not all(math.isclose(n.logprob, s.picked.logprob, abs_tol=_NATS) for n, s in zip(nodes, steps, strict=True)):
        raise ContradictionError(Message("read.wrong.beam.probabilities"))
