"""One class's vote without HTTP, from a question's opening to its result, with a clock of the test's own."""

import json
import tracemalloc
from typing import Any

import pytest

from decoding import limits
from decoding.requests.vote_request import Answer, Option, Question, Refusal, Reveal
from decoding.serving.class_vote import VoteSession
from decoding.serving.vote_scores import MAX_OTHERS
from tests.serving.votes import ANN, BEN, CHO, LABELS, MAX_SESSION_BYTES, OPTIONS, REVEAL, ask_again, refusal, session


def test_a_question_is_counted_and_scored() -> None:
    vote = session(ANN, BEN, CHO)
    vote.answer(ANN, Answer(0, 1))
    vote.answer(BEN, Answer(0, None, "Only"))
    vote.answer(CHO, Answer(0, None, " banana "))
    assert vote.class_state(0.0)["answered"] == 3
    result = vote.reveal(REVEAL)
    assert (result.votes, result.others, result.other_votes) == ((1, 1, 0), (("banana", 1),), 1)
    assert (result.score.answers, result.score.right, result.score.ranks) == (3, 1, 2 + 1 + 4)
    assert result.score.bits == pytest.approx(1 + 2 + 3)
    assert result.score.is_bound  # banana's rank and bits are at least that


def test_a_student_sees_the_own_result_and_score() -> None:
    vote = session(ANN, BEN)
    vote.answer(ANN, Answer(0, 1))
    vote.reveal(REVEAL)
    seen = vote.student_state(ANN, 0.0)
    assert seen["worth"] == {"rank": 0, "is_right": True, "is_bound": False}
    assert seen["score"] == {"answers": 1, "right": 1, "ranks": 1, "bits": 1.0, "is_bound": False}
    assert vote.student_state(BEN, 0.0)["worth"] is None
    assert vote.student_state(BEN, 0.0)["score"]["answers"] == 0


def test_nobody_sees_an_answer_before_the_reveal() -> None:
    """Neither the model's, which is not here yet, nor a student's: not another student, not the teacher."""
    vote = session(ANN, BEN)
    vote.answer(BEN, Answer(0, None, "a secret of Ben's"))
    for seen in (vote.student_state(ANN, 0.0), vote.class_state(0.0)):
        assert "secret" not in json.dumps(seen)
        assert "0.5" not in json.dumps(seen)
    assert "secret" in json.dumps(vote.student_state(BEN, 0.0))
    vote.reveal(REVEAL)
    assert "secret" not in json.dumps(vote.student_state(ANN, 0.0))  # what is typed goes to the teacher alone


def test_the_last_answer_before_the_reveal_counts() -> None:
    vote = session(ANN)
    vote.answer(ANN, Answer(0, 0))
    vote.answer(ANN, Answer(0, 1))
    assert vote.reveal(REVEAL).votes == (0, 1, 0)


def test_an_answer_that_is_sent_again_changes_nothing_even_after_the_reveal() -> None:
    """A phone whose network went away cannot know whether its answer arrived."""
    vote = session(ANN)
    for _ in range(100):
        vote.answer(ANN, Answer(0, 0))
    first = vote.reveal(REVEAL)
    vote.answer(ANN, Answer(0, 0))
    assert refusal(vote.answer, ANN, Answer(0, 1)) == Refusal.LATE  # another one is too late
    assert vote.reveal(REVEAL) is first  # a teacher's page repeats itself as well
    assert vote.student_state(ANN, 0.0)["score"]["answers"] == 1


def test_a_thousand_answers_are_one() -> None:
    vote = session(ANN, BEN)
    for number in range(1000):
        if number < limits.MAX_VOTE_CHANGES:
            vote.answer(ANN, Answer(0, None, f"word {number}"))
        else:
            assert refusal(vote.answer, ANN, Answer(0, None, f"word {number}")) == Refusal.TOO_OFTEN
    assert vote.reveal(REVEAL).other_votes == 1
    ask_again(vote, 1)
    vote.answer(ANN, Answer(1, 0))  # the next question is another one


def test_who_comes_late_answers_the_question_that_is_open_and_keeps_the_id() -> None:
    vote = session(ANN)
    vote.reveal(REVEAL)
    ask_again(vote, 1)
    vote.join(BEN)
    assert vote.student_state(BEN, 0.0)["phase"] == "open"
    vote.answer(BEN, Answer(1, 2))
    vote.join(BEN)  # a page that was reloaded
    assert vote.student_state(BEN, 0.0)["answer"] == {"place": 2}
    assert vote.class_state(0.0)["students"] == 2


def test_the_next_question_drops_one_that_was_not_revealed() -> None:
    vote = session(ANN)
    vote.answer(ANN, Answer(0, 0))
    ask_again(vote, 1)
    assert vote.student_state(ANN, 0.0)["answer"] is None
    assert refusal(vote.reveal, REVEAL) == Refusal.LATE
    assert refusal(vote.answer, ANN, Answer(0, 0)) == Refusal.LATE
    assert vote.results == []


def test_the_time_that_is_left() -> None:
    vote = session(ANN, seconds=30)
    assert [vote.student_state(ANN, now)["left"] for now in (0.0, 20.0, 31.0)] == [30.0, 10.0, 0.0]
    vote.answer(ANN, Answer(0, 0))  # given in time by a phone that was cut off; the reveal is the end
    vote.reveal(REVEAL)
    assert vote.student_state(ANN, 31.0)["left"] is None


def test_a_time_may_be_set_while_a_question_is_open() -> None:
    vote = session(ANN, seconds=30)
    vote.answer(ANN, Answer(0, 0))
    version = vote.version
    vote.ask(Question(0, 1, "Transformers are the", LABELS, seconds=30), now=10.0)  # a repetition is no new beginning
    assert (vote.version, vote.class_state(10.0)["left"]) == (version, 20.0)
    vote.ask(Question(0, 1, "Transformers are the", LABELS, seconds=60), now=10.0)
    assert (vote.version, vote.class_state(10.0)["left"]) == (version + 1, 60.0)
    vote.ask(Question(0, 1, "Transformers are the", LABELS), now=10.0)
    assert vote.class_state(10.0)["left"] is None
    assert vote.student_state(ANN, 10.0)["answer"] == {"place": 0}


def test_versions_say_who_has_something_new_to_see() -> None:
    vote = session(ANN)
    seen, of_class = vote.version, vote.class_version
    vote.answer(ANN, Answer(0, 0))
    vote.join(BEN)
    assert (vote.version, vote.class_version) == (seen, of_class + 2)  # 35 phones need not hear of each answer
    vote.reveal(REVEAL)
    assert vote.version == seen + 1


def test_nothing_stays_after_the_end() -> None:
    vote = session(ANN)
    vote.answer(ANN, Answer(0, None, "a secret"))
    vote.reveal(REVEAL)
    vote.end()
    held = {name: getattr(vote, name) for name in ("results", "_students", "_question")}
    assert held == {"results": [], "_students": {}, "_question": None}
    assert vote.student_state(ANN, 0.0) == {"version": vote.version, "phase": "ended"}


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (lambda vote: vote.answer(BEN, Answer(0, 0)), Refusal.NO_RIGHT),  # another's id, or one made up
        (lambda vote: vote.student_state(BEN, 0.0), Refusal.NO_RIGHT),
        (lambda vote: vote.answer(ANN, Answer(0, 3)), Refusal.INVALID),
        (lambda vote: vote.answer(ANN, Answer(1, 0)), Refusal.LATE),
        (lambda vote: vote.ask(Question(2, 1, "", LABELS), now=0.0), Refusal.LATE),
        (lambda vote: vote.reveal(Reveal(0, OPTIONS[:2], 0, 0.1)), Refusal.INVALID),
        (lambda vote: vote.reveal(Reveal(1, OPTIONS, 0, 0.1)), Refusal.LATE),
    ],
)
def test_what_is_refused(call: Any, why: Refusal) -> None:
    assert refusal(call, session(ANN)) == why


def test_the_teachers_rights_hang_on_a_secret() -> None:
    vote = session(ANN)
    assert vote.has_secret(vote.secret)
    assert not any(map(vote.has_secret, ("", vote.secret[:-1], f"{vote.secret}x", vote.code, ANN, "\ud800")))


def test_a_class_and_a_session_have_their_bounds() -> None:
    vote = VoteSession("ABCDEF", now=0.0)
    for number in range(limits.MAX_VOTE_STUDENTS):
        vote.join(f"student {number}")
    assert refusal(vote.join, ANN) == Refusal.CLASS_FULL
    vote.join("student 0")  # who is in stays in
    for number in range(limits.MAX_VOTE_QUESTIONS):
        ask_again(vote, number)
    assert refusal(ask_again, vote, limits.MAX_VOTE_QUESTIONS) == Refusal.QUESTIONS_FULL


def test_a_session_that_is_filled_takes_no_more_memory_than_the_table_says() -> None:
    most = limits.MAX_VOTE_ANSWER_CHARACTERS
    students = [f"{number:03}" * 8 for number in range(MAX_OTHERS + 1)]

    def letters(number: int, count: int) -> str:
        return chr(0x1F600 + number) * count  # four bytes each

    tracemalloc.start()
    vote = VoteSession("ABCDEF", now=0.0)
    for number in range(limits.MAX_VOTE_QUESTIONS):
        labels = tuple(f"{letters(place, most - 4)}{number:4}" for place in range(limits.MAX_CHOICES + 1))
        vote.ask(Question(number, 1, letters(number, limits.MAX_VOTE_TEXT_CHARACTERS), labels), now=0.0)
        for place, student in enumerate(students):
            vote.join(student)
            vote.answer(student, Answer(number, None, letters(place, most - 4) + f"{number:4}"))
        options = tuple(Option(f"{label[:-1]}!", rank, 0.01) for rank, label in enumerate(labels))
        vote.reveal(Reveal(number, options, 0, 0.01))
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size < MAX_SESSION_BYTES
    assert len(vote.results) == limits.MAX_VOTE_QUESTIONS
