"""A class that votes: one session from the teacher's first question to its end.

Owns the students, the question that is open, their answers, and what a teacher and a student may see of them. The
model's numbers come with the reveal and not before, so that nobody can read the answer to a question that is open.
Knows no HTTP, no address and no clock: every call is told the time, in seconds.

A student has one answer a question. It may be changed until the reveal, and the last one counts. The same answer sent
again changes nothing, so a page that does not know whether its answer arrived can repeat it.
"""

import secrets
from dataclasses import dataclass, field, replace
from typing import Any

from decoding.limits import MAX_VOTE_CHANGES, MAX_VOTE_QUESTIONS, MAX_VOTE_STUDENTS
from decoding.requests.vote_request import Answer, Question, Refusal, Reveal, VoteError
from decoding.serving.vote_scores import Result, Score, Worth, count_votes, place_of, worth_of


@dataclass(slots=True)
class Student:
    """A student, known by nothing but a random id."""

    answer: Answer | None = None
    """The answer to the last question."""
    changes: int = 0
    score: Score = field(default_factory=Score)


class VoteSession:
    """A session. `version` grows with whatever students can see, `class_version` with what the teacher can."""

    def __init__(self, code: str, now: float) -> None:
        self.code = code
        self.secret = secrets.token_urlsafe(24)
        self.opened = now
        self.teacher_seen = now
        """When the teacher's page was heard of last; the caller keeps it."""
        self.version = self.class_version = 0
        self.is_ended = False
        self.results: list[Result] = []
        self._students: dict[str, Student] = {}
        self._question: Question | None = None
        self._ends_at: float | None = None
        self._is_open = False

    # ---- the teacher

    def has_secret(self, secret: str) -> bool:
        """Whether that is this session's secret, on which all rights of the teacher hang."""
        return secrets.compare_digest(secret.encode("utf-8", "replace"), self.secret.encode())

    def ask(self, question: Question, now: float) -> None:
        """Open a question. One that is still open is dropped with its answers. The same one again changes nothing but
        its time, where another is set.

        Raises VoteError for a number that is not the next one, and beyond `MAX_VOTE_QUESTIONS`.
        """
        before = self._question
        if self._is_open and before and replace(before, seconds=question.seconds) == question:
            if before != question:
                self._question, self._ends_at = question, _end_of(question, now)
                self._change()
            return
        if question.number != self._next_number():
            raise VoteError(Refusal.LATE)
        if question.number >= MAX_VOTE_QUESTIONS:
            raise VoteError(Refusal.QUESTIONS_FULL)
        self._question, self._is_open = question, True
        self.results[-1:] = [result.without_texts() for result in self.results[-1:]]
        self._ends_at = _end_of(question, now)
        for student in self._students.values():
            student.answer, student.changes = None, 0
        self._change()

    def reveal(self, reveal: Reveal) -> Result:
        """Close the question and count its answers. Of a question that is revealed already, the result that it had.

        Raises VoteError if that question is not open, or has another number of candidates.
        """
        if self.results and self.results[-1].reveal.number == reveal.number:
            return self.results[-1]
        question = self._question
        if question is None or not self._is_open or question.number != reveal.number:
            raise VoteError(Refusal.LATE)
        if len(reveal.options) != len(question.labels):
            raise VoteError(Refusal.INVALID)
        answered = [student for student in self._students.values() if student.answer is not None]
        for student in answered:
            student.score.add(self._worth(student, reveal))
        answers = [student.answer for student in answered if student.answer is not None]
        self.results.append(count_votes(question.step, question.labels, reveal, answers))
        self._is_open, self._ends_at = False, None
        self._change()
        return self.results[-1]

    def end(self) -> None:
        """End the session and forget all students, answers and results."""
        self.is_ended, self._is_open, self._question = True, False, None
        self._students.clear()
        self.results.clear()
        self._change()

    def class_state(self, now: float) -> dict[str, Any]:
        """What the teacher sees: how many have answered, and not what."""
        question = self._question
        return {
            "version": self.class_version,
            "phase": self._phase(),
            "next": self._next_number(),
            "step": question.step if question else None,
            "students": len(self._students),
            "answered": sum(student.answer is not None for student in self._students.values()),
            "left": self._left(now),
        }

    # ---- students

    def join(self, student_id: str) -> None:
        """Let a student in, or in again. Raises VoteError if the class is full."""
        if student_id in self._students:
            return
        if len(self._students) >= MAX_VOTE_STUDENTS:
            raise VoteError(Refusal.CLASS_FULL)
        self._students[student_id] = Student()
        self.class_version += 1

    def has(self, student_id: str) -> bool:
        return student_id in self._students

    def answer(self, student_id: str, answer: Answer) -> None:
        """Take a student's answer, in place of an earlier one to the same question.

        Raises VoteError for somebody who has not joined, a question that is not open, a candidate that it does not
        have, and the answer after `MAX_VOTE_CHANGES` others.
        """
        student, question = self._student(student_id), self._question
        if question is None or answer.number != question.number:
            raise VoteError(Refusal.LATE)
        if answer.place is not None and answer.place >= len(question.labels):
            raise VoteError(Refusal.INVALID)
        if answer == student.answer:
            return  # also after the reveal: it had arrived
        if not self._is_open:
            raise VoteError(Refusal.LATE)
        if student.changes >= MAX_VOTE_CHANGES:
            raise VoteError(Refusal.TOO_OFTEN)
        student.answer, student.changes = answer, student.changes + 1
        self.class_version += 1

    def student_state(self, student_id: str, now: float) -> dict[str, Any]:
        """What a student sees: the question, the own answer, and once it is revealed the result and the own score.

        Raises VoteError for somebody who has not joined.
        """
        if self.is_ended:  # for a request that was waiting for news
            return {"version": self.version, "phase": self._phase()}
        student, question = self._student(student_id), self._question
        state = {"version": self.version, "phase": self._phase(), "score": student.score.as_json()}
        if question is None:
            return state
        state |= {
            "number": question.number,
            "step": question.step,
            "text": question.text,
            "labels": list(question.labels),
            "left": self._left(now),
            "answer": _answer_json(student.answer),
        }
        return state if self._is_open else state | self._revealed_state(student)

    def _revealed_state(self, student: Student) -> dict[str, Any]:
        result = self.results[-1]
        if student.answer is None:
            return {"result": result.as_json() | {"others": []}, "worth": None}
        worth = self._worth(student, result.reveal)
        mine = {"rank": worth.rank, "is_right": worth.is_right, "is_bound": worth.is_bound}
        return {"result": result.as_json() | {"others": []}, "worth": mine}

    # ---- both

    def _student(self, student_id: str) -> Student:
        if student_id not in self._students:
            raise VoteError(Refusal.NO_RIGHT)
        return self._students[student_id]

    @staticmethod
    def _worth(student: Student, reveal: Reveal) -> Worth:
        assert student.answer is not None
        return worth_of(place_of(student.answer, reveal), reveal)

    def _phase(self) -> str:
        if self.is_ended:
            return "ended"
        return "waiting" if self._question is None else "open" if self._is_open else "revealed"

    def _next_number(self) -> int:
        return 0 if self._question is None else self._question.number + 1

    def _left(self, now: float) -> float | None:
        """The seconds until the time that the teacher set is over; answers are taken until the reveal all the same."""
        return None if self._ends_at is None else max(0.0, self._ends_at - now)

    def _change(self) -> None:
        self.version += 1
        self.class_version += 1


def _end_of(question: Question, now: float) -> float | None:
    return None if question.seconds is None else now + question.seconds


def _answer_json(answer: Answer | None) -> dict[str, Any] | None:
    if answer is None:
        return None
    return {"text": answer.text} if answer.place is None else {"place": answer.place}
