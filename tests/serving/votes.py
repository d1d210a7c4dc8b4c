"""A class's vote with its first question open, and why it refuses."""

from typing import Any

import pytest

from decoding.requests.vote_request import Option, Question, Refusal, Reveal, VoteError
from decoding.serving.class_vote import VoteSession

MAX_SESSION_BYTES = 5_000_000
"""As decoding/page/http/README.md says."""
LABELS = ("·only", "·most", "·best")
OPTIONS = (Option(" only", 1, 0.25), Option(" most", 0, 0.5), Option(" best", 2, 0.125))
REVEAL = Reveal(0, OPTIONS, picked=1, beyond=0.125)
ANN, BEN, CHO = (name * 8 for name in ("ann", "ben", "cho"))


def session(*students: str, **question: Any) -> VoteSession:
    """A session with its first question open."""
    opened = VoteSession("ABCDEF", now=0.0)
    for student in students:
        opened.join(student)
    opened.ask(Question(0, 1, "Transformers are the", LABELS, **question), now=0.0)
    return opened


def refusal(call: Any, *values: Any, **named: Any) -> Refusal:
    with pytest.raises(VoteError) as caught:
        call(*values, **named)
    return caught.value.refusal


def ask_again(vote: VoteSession, number: int) -> None:
    vote.ask(Question(number, number + 1, "and so on", LABELS), now=0.0)
