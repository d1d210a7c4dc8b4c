"""A class's vote without HTTP: questions, answers, scores, codes and bounds, with a clock of the test's own."""

import json
import math
import tracemalloc
from typing import Any

import pytest

from decoding import limits
from decoding.requests import vote_request
from decoding.requests.vote_request import Answer, Option, Question, Refusal, Reveal, VoteError
from decoding.serving.class_vote import VoteSession
from decoding.serving.vote_scores import MAX_OTHERS, count_votes, match_typed
from decoding.serving.vote_sessions import (
    ALPHABET,
    CODE_CHARACTERS,
    SESSION_SECONDS,
    UNATTENDED_SECONDS,
    RateLimit,
    VoteSessions,
)
from tests import node
from tests.fakes import NASTY

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


# ---- a question from its opening to its result


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


# ---- scores


TYPED = ("most", " most", "MOST", "Most ", "mos", "", " ", "only", "자", "é", "e\u0301", "<b>Bold</b>", "İ", "\n")


def test_a_typed_answer_is_the_candidate_that_the_panel_takes_it_for() -> None:
    texts = [" most", "most", " only", None, " 자", "e\u0301", "<b>bold</b>", "\n", " ", "Most"]
    options = tuple(Option(text, rank, 0.05) for rank, text in enumerate(texts))
    code = """async ([texts, every], load) => {
        const { matchingOption } = await load("core/guesses.js");
        const options = texts.map((text, rank) => (text === null ? { rank, text: "", bytes: "f0" } : { rank, text }));
        return every.map((typed) => matchingOption(options, typed)?.rank ?? null);
    }"""
    found = [match_typed(options, typed) for typed in TYPED]
    assert found == node.run(code, [texts, TYPED])
    assert len({*found}) > 5


def test_a_probability_of_nothing_has_a_finite_logarithm() -> None:
    reveal = Reveal(0, (Option("a", 0, 1.0), Option("b", 1, 0.0)), picked=0, beyond=0.0)
    result = count_votes(1, ("a", "b"), reveal, [Answer(0, 1), Answer(0, None, "c")])
    assert math.isfinite(result.score.bits)


# ---- what is sent

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


# ---- codes


def test_a_code_can_be_read_from_the_last_row() -> None:
    vote = VoteSessions().open("10.0.0.1", 0.0)
    assert len(vote.code) == CODE_CHARACTERS
    assert set(vote.code) <= set(ALPHABET)
    assert not set("01OIL") & set(ALPHABET)
    assert len(vote.secret) >= 32


def test_two_sessions_never_have_the_same_code() -> None:
    letters = iter("AAAAAA" + "AAAAAA" + "BBBBBB")
    sessions = VoteSessions(lambda _: next(letters))
    assert [sessions.open("a", 0.0).code for _ in range(2)] == ["AAAAAA", "BBBBBB"]


def test_two_classes_at_once_know_nothing_of_each_other() -> None:
    sessions = VoteSessions()
    one, two = sessions.open("a", 0.0), sessions.open("a", 0.0)
    one.join(ANN)
    ask_again(one, 0)
    assert two.class_state(0.0)["students"] == 0
    assert not two.has_secret(one.secret)
    assert refusal(two.student_state, ANN, 0.0) == Refusal.NO_RIGHT
    sessions.end(one)
    assert sessions.find(two.code, "a", 0.0) is two


def test_an_address_and_a_server_have_so_many_sessions() -> None:
    sessions = VoteSessions()
    for _ in range(limits.MAX_VOTE_SESSIONS_PER_ADDRESS):
        sessions.open("a", 0.0)
    assert refusal(sessions.open, "a", 0.0) == Refusal.SESSIONS_FULL
    while len(sessions) < limits.MAX_VOTE_SESSIONS:
        sessions.open(None, 0.0)  # a proxy's address is everybody's
    assert refusal(sessions.open, "b", 0.0) == Refusal.SESSIONS_FULL
    attended = [place.session for place in sessions._places.values()][1:]
    for one in attended:
        one.teacher_seen = UNATTENDED_SECONDS
    sessions.open("b", UNATTENDED_SECONDS)  # in place of the one whose teacher has gone
    assert len(sessions) == limits.MAX_VOTE_SESSIONS
    assert not any(one.is_ended for one in attended)


def test_a_session_lives_two_hours() -> None:
    sessions = VoteSessions()
    vote = sessions.open("a", 0.0)
    vote.join(ANN)
    assert sessions.find(vote.code, "a", SESSION_SECONDS - 1) is vote
    assert refusal(sessions.find, vote.code, "a", SESSION_SECONDS) == Refusal.UNKNOWN
    assert vote.is_ended
    sessions.open("a", 0.0)
    sessions.sweep(SESSION_SECONDS)  # by the clock, where nobody asks any more
    assert len(sessions) == 0


def test_who_guesses_codes_is_slowed_down_and_a_class_that_mistypes_is_not() -> None:
    sessions = VoteSessions()
    vote = sessions.open("school", 0.0)
    for _ in range(35 * 5):  # everybody mistypes it five times, at once
        assert refusal(sessions.find, "WRONG2", "school", 0.0) == Refusal.UNKNOWN
    assert sessions.find(vote.code, "school", 0.0) is vote
    said = [refusal(sessions.find, "WRONG2", "guesser", second / 100) for second in range(36_000)]  # 100 a second
    assert said.count(Refusal.UNKNOWN) <= 300 + 5 * 360 + 1
    assert refusal(sessions.find, vote.code, "guesser", 360.0) == Refusal.TOO_FAST  # nor does a right one show
    assert sessions.find(vote.code, "school", 360.0) is vote
    assert sessions.known(vote.code, 360.0) is vote  # whoever is in stays in
    assert sessions.find(vote.code, "guesser", 361.0) is vote  # and a late one of that address waits a second


def test_a_rate_limit_forgets_those_who_are_back_to_nothing() -> None:
    limit = RateLimit(per_second=1, burst=2)
    for number in range(5_000):
        limit.count(f"address {number}", float(number))
    assert len(limit._used) <= 1_001
