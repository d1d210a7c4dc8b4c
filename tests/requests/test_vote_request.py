"""What a teacher's page and the phones may send to a vote."""

import json
from typing import Any

import pytest

from decoding import limits
from decoding.requests import vote_request
from decoding.requests.vote_request import Answer, Option, Question, Refusal
from tests.fakes import NASTY
from tests.serving.votes import ANN, REVEAL, refusal, session

QUESTION = {"number": 0, "step": 1, "text": "a", "labels": ["b", "c"]}
REVEALED = {
    "number": 0,
    "options": [{"text": "b", "rank": 0, "probability": 0.5}, {"text": None, "rank": 1, "probability": 0}],
    "picked": 1,
    "beyond": 0.1,
}
BAD: dict[str, tuple[Any, Any]] = {
    **{f"question {n}": (vote_request.parse_question, said) for n, said in enumerate([
        None, [], "a", 1, {}, QUESTION | {"number": -1}, QUESTION | {"number": True}, QUESTION | {"number": 1.0},
        QUESTION | {"step": 0}, QUESTION | {"step": 10**30}, QUESTION | {"text": None},
        QUESTION | {"text": "a" * 4_001},
        QUESTION | {"labels": []}, QUESTION | {"labels": ["a"] * 52}, QUESTION | {"labels": [1]},
        QUESTION | {"labels": ["a" * 81]}, QUESTION | {"labels": "ab"}, QUESTION | {"seconds": 0},
        QUESTION | {"seconds": 601}, QUESTION | {"seconds": "10"},
    ])},
    **{f"answer {n}": (vote_request.parse_answer, said) for n, said in enumerate([
        None, [], {}, {"number": 0}, {"number": 0, "place": 1, "text": "a"}, {"number": 0, "place": None},
        {"number": 0, "place": -1}, {"number": 0, "place": 51}, {"number": 0, "text": ""}, {"number": 0, "text": " \n"},
        {"number": 0, "text": "a" * 81}, {"number": 0, "text": ["a"]}, {"place": 0},
    ])},
    **{f"reveal {n}": (vote_request.parse_reveal, said) for n, said in enumerate([
        None, {}, REVEALED | {"picked": 2}, REVEALED | {"picked": None}, REVEALED | {"beyond": -0.1},
        REVEALED | {"beyond": "0"}, REVEALED | {"beyond": float("nan")}, REVEALED | {"options": [1, 2]},
        REVEALED | {"options": [{"text": "b", "rank": 0, "probability": 1.5}]},
        REVEALED | {"options": [{"text": "b", "rank": 0, "probability": 0.5}] * 2},
    ])},
    **{f"id {n}": (vote_request.parse_student_id, said) for n, said in enumerate([
        None, 1, "", "a" * 21, "a" * 44, "a" * 21 + "\n", "a" * 22 + "é", "<script>alert(1)</script>",
    ])},
}  # fmt: skip


@pytest.mark.parametrize(("parse", "said"), BAD.values(), ids=BAD)
def test_what_cannot_be_meant_is_refused(parse: Any, said: Any) -> None:
    assert refusal(parse, said) == Refusal.INVALID


def test_what_can_be_meant_is_parsed() -> None:
    assert vote_request.parse_question(QUESTION | {"seconds": 30}) == Question(0, 1, "a", ("b", "c"), 30)
    assert vote_request.parse_answer({"number": 3, "place": 0}) == Answer(3, 0)
    assert vote_request.parse_reveal(REVEALED).options[1] == Option(None, 1, 0.0)


@pytest.mark.parametrize("typed", NASTY.values(), ids=NASTY)
def test_any_text_can_be_an_answer(typed: str) -> None:
    """It stays text: what it looks like is the page's business, which writes it with textContent."""
    typed = typed[: limits.MAX_VOTE_ANSWER_CHARACTERS]
    vote = session(ANN)
    vote.answer(ANN, vote_request.parse_answer({"number": 0, "text": typed}))
    assert vote.reveal(REVEAL).others == ((typed.strip(), 1),)
    json.dumps(vote.results[0].as_json(), ensure_ascii=False).encode()


def test_half_a_surrogate_pair_can_be_sent_on() -> None:
    assert vote_request.parse_answer({"number": 0, "text": "a\ud800"}).text == "a?"
