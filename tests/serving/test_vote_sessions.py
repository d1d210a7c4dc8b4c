"""The votes of a server: codes, how many there may be, how long they live, and who guesses."""

from decoding import limits
from decoding.requests.vote_request import Refusal
from decoding.serving.vote_sessions import (
    ALPHABET,
    CODE_CHARACTERS,
    SESSION_SECONDS,
    UNATTENDED_SECONDS,
    RateLimit,
    VoteSessions,
)
from tests.serving.votes import ANN, ask_again, refusal


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
