"""The routes of classes that vote: `/vote/` and everything below it.

Owns who is let through to a session, and how many bytes and requests are taken. A page asks for the state with the
version that it has; where there is no newer one, the answer waits for it (`vote_waiting.py`). Knows no model and no
component. An id and a secret are sent in headers of their own, which no other site's page may send without being asked
first, and which no log of addresses holds.
"""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from decoding.i18n import translate
from decoding.limits import MAX_VOTE_BODY_BYTES
from decoding.page.http.addresses import address_of
from decoding.page.http.qr_code import qr_code
from decoding.page.http.request_body import RefusedError, body_reservation, parse_json, read_body
from decoding.page.http.vote_page import vote_page
from decoding.page.http.vote_waiting import WAIT_SECONDS, WaitingRequests
from decoding.requests.vote_request import (
    Refusal,
    VoteError,
    parse_answer,
    parse_question,
    parse_reveal,
    parse_student_id,
)
from decoding.serving.class_vote import VoteSession
from decoding.serving.vote_sessions import SESSION_SECONDS, RateLimit, VoteSessions

ID_HEADER, SECRET_HEADER = "x-vote-id", "x-vote-secret"
CODE_HEADER = "x-vote-code"
"""Of the response that opens a session, so that a proxy can learn on which replica it is."""
REQUESTS_PER_SECOND, REQUESTS_AT_ONCE = 100, 1_000
"""Of one address: a class of 100 needs about 30 a second, and two for each phone at a reveal."""
MAX_ADDRESS_CHARACTERS = 200

_STATUS = {
    Refusal.INVALID: 422,
    Refusal.UNKNOWN: 404,
    Refusal.NO_RIGHT: 403,
    Refusal.LATE: 409,
    Refusal.SESSIONS_FULL: 503,
    Refusal.CLASS_FULL: 503,
    Refusal.QUESTIONS_FULL: 409,
    Refusal.TOO_OFTEN: 429,
    Refusal.TOO_FAST: 429,
}
_HEADERS = {"cache-control": "no-store", "x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}

Handler = Callable[[Request], Awaitable[dict[str, Any]]]


def vote_routes(clock: Callable[[], float] = monotonic) -> list[Route]:
    """The routes to serve beside Gradio's."""
    return VoteRoutes(clock).routes()


class VoteRoutes:
    """The sessions of one page, over HTTP. Everything runs in its event loop."""

    def __init__(
        self, clock: Callable[[], float], *, burst: int = REQUESTS_AT_ONCE, wait_seconds: float = WAIT_SECONDS
    ) -> None:
        self._clock = clock
        self.sessions = VoteSessions()
        self._requests = RateLimit(REQUESTS_PER_SECOND, burst)
        self._waiting = WaitingRequests(wait_seconds)

    def routes(self) -> list[Route]:
        posts = {
            "open": self._open,
            "{code}/join": self._join,
            "{code}/answer": self._answer,
            "{code}/ask": self._ask,
            "{code}/reveal": self._reveal,
            "{code}/end": self._end,
            "{code}/qr": self._qr,
        }
        gets = {"{code}/state": self._state, "{code}/class": self._class, "{code}/results": self._results}
        return [
            Route("/vote", _to_the_page),
            Route("/vote/", _page),
            *(Route(f"/vote/{path}", self._handled(handler), methods=["POST"]) for path, handler in posts.items()),
            *(Route(f"/vote/{path}", self._handled(handler)) for path, handler in gets.items()),
            Route("/vote/{code}", _page),
        ]

    def _handled(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def handle(request: Request) -> Response:
            try:
                self._admit(request)
                content = await handler(request)
            except VoteError as error:
                return _refused(error.refusal)
            except RefusedError as refused:
                return PlainTextResponse(str(refused), refused.status, _HEADERS)
            code = {CODE_HEADER: content["code"]} if "secret" in content else {}
            return JSONResponse(content, headers=_HEADERS | code)

        return handle

    def _admit(self, request: Request) -> None:
        """Raises VoteError for a page of another site, and for an address that asks too often."""
        if request.headers.get("sec-fetch-site") == "cross-site":
            raise VoteError(Refusal.NO_RIGHT)
        address, now = address_of(request), self._clock()
        if not self._requests.has_room(address, now):
            raise VoteError(Refusal.TOO_FAST)
        self._requests.count(address, now)

    # ---- the teacher

    async def _open(self, request: Request) -> dict[str, Any]:
        await _body(request)
        session = self.sessions.open(address_of(request), self._clock())
        asyncio.get_running_loop().call_later(SESSION_SECONDS + 1, self._sweep)
        return {"code": session.code, "secret": session.secret}

    async def _qr(self, request: Request) -> dict[str, Any]:
        session, body = self._teachers_session(request), await _body(request)
        address = body.get("address")
        if not isinstance(address, str) or len(address) > MAX_ADDRESS_CHARACTERS or not address.isascii():
            raise VoteError(Refusal.INVALID)
        if not address.startswith(("http://", "https://")):
            raise VoteError(Refusal.INVALID)
        return {"address": f"{address}{session.code}", **qr_code(f"{address}{session.code}")}

    async def _ask(self, request: Request) -> dict[str, Any]:
        session, question = self._teachers_session(request), parse_question(await _body(request))
        session.ask(question, self._clock())
        return self._wake_all(session)

    async def _reveal(self, request: Request) -> dict[str, Any]:
        session, reveal = self._teachers_session(request), parse_reveal(await _body(request))
        result = session.reveal(reveal).as_json()
        return self._wake_all(session) | {"result": result}

    async def _end(self, request: Request) -> dict[str, Any]:
        session = self._teachers_session(request)
        self.sessions.end(session)
        return self._wake_all(session)

    async def _class(self, request: Request) -> dict[str, Any]:
        session = self._teachers_session(request)
        if _has_seen(request, session.class_version):
            await self._waiting.wait(request, session.code, "the teacher", "class")
        return session.class_state(self._clock())

    async def _results(self, request: Request) -> dict[str, Any]:
        return {"results": [result.as_json() for result in self._teachers_session(request).results]}

    def _teachers_session(self, request: Request) -> VoteSession:
        """The session of a code and its secret. Raises VoteError for any other."""
        code, now, secret = _code(request), self._clock(), request.headers.get(SECRET_HEADER, "")
        session = self.sessions.known(code, now)
        if session is None or not session.has_secret(secret):
            self.sessions.find(code, address_of(request), now)
            raise VoteError(Refusal.NO_RIGHT)
        session.teacher_seen = now
        return session

    # ---- students

    async def _join(self, request: Request) -> dict[str, Any]:
        student = parse_student_id(request.headers.get(ID_HEADER))
        await _body(request)
        session = self._joined_session(request, student) or self.sessions.find(
            _code(request), address_of(request), self._clock()
        )
        session.join(student)
        self._waiting.wake(session.code, "class")
        return session.student_state(student, self._clock())

    async def _state(self, request: Request) -> dict[str, Any]:
        session, student = self._students_session(request)
        if _has_seen(request, session.version):
            await self._waiting.wait(request, session.code, student, "student")
        return session.student_state(student, self._clock())

    async def _answer(self, request: Request) -> dict[str, Any]:
        session, student = self._students_session(request)
        session.answer(student, parse_answer(await _body(request)))
        self._waiting.wake(session.code, "class")
        return session.student_state(student, self._clock())

    def _students_session(self, request: Request) -> tuple[VoteSession, str]:
        """The session that a student has joined. Raises VoteError for anybody else."""
        student = parse_student_id(request.headers.get(ID_HEADER))
        if session := self._joined_session(request, student):
            return session, student
        self.sessions.find(_code(request), address_of(request), self._clock())
        raise VoteError(Refusal.NO_RIGHT)

    def _joined_session(self, request: Request, student: str) -> VoteSession | None:
        session = self.sessions.known(_code(request), self._clock())
        return session if session and session.has(student) else None

    # ---- those who wait

    def _wake_all(self, session: VoteSession) -> dict[str, Any]:
        """What the teacher sees, after everybody who waits was woken."""
        self._waiting.wake(session.code, "class")
        self._waiting.wake(session.code, "student")
        return session.class_state(self._clock())

    def _sweep(self) -> None:
        self.sessions.sweep(self._clock())
        self._waiting.forget(lambda code: self.sessions.known(code, self._clock()) is None)


async def _to_the_page(request: Request) -> Response:
    return RedirectResponse("vote/", 308)


async def _page(request: Request) -> Response:
    page = vote_page()
    headers = {**_HEADERS, "content-security-policy": page.policy}
    return Response(page.content, media_type="text/html; charset=utf-8", headers=headers)


async def _body(request: Request) -> dict[str, Any]:
    """The JSON object in a request's body. Raises RefusedError and VoteError for any other body."""
    async with body_reservation(address_of(request)) as reservation:
        body = parse_json(await read_body(request.receive, MAX_VOTE_BODY_BYTES, reservation) or b"{}")
    if not isinstance(body, dict):
        raise VoteError(Refusal.INVALID)
    return body


def _refused(refusal: Refusal) -> Response:
    content = {"error": refusal.value, "message": translate(f"vote.error.{refusal.value}")}
    return JSONResponse(content, _STATUS[refusal], _HEADERS)


def _has_seen(request: Request, version: int) -> bool:
    return request.query_params.get("since") == str(version)


def _code(request: Request) -> str:
    """The code in the address. Somebody may type it in small letters."""
    return str(request.path_params["code"]).upper()
