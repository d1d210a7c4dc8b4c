"""A class's vote over HTTP: who may do what, and what is bounded."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from decoding.limits import MAX_VOTE_BODY_BYTES, MAX_VOTE_SESSIONS_PER_ADDRESS
from decoding.page.http import vote_routes
from decoding.page.http.qr_code import qr_code
from decoding.page.http.vote_page import vote_page
from decoding.page.http.vote_routes import VoteRoutes
from decoding.serving.vote_sessions import SESSION_SECONDS
from tests.page.http.vote_bodies import ANN, BEN, LABELS, QUESTION, REVEAL


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Class:
    """A teacher and students on one server. `http` is a client of httpx, or one that has its methods."""

    def __init__(self, http: Any) -> None:
        self.http = http
        opened = http.post("/vote/open", json={})
        self.code, self.secret = opened.json()["code"], opened.json()["secret"]
        assert opened.headers["x-vote-code"] == self.code

    def teach(self, path: str, said: object = None, *, secret: str | None = None) -> Any:
        headers = {"x-vote-secret": self.secret if secret is None else secret}
        address = f"/vote/{self.code}/{path}"
        return self.http.get(address, headers=headers) if said is None else self.post(path, said, headers)

    def study(self, student: str, path: str, said: object = None) -> Any:
        headers = {"x-vote-id": student}
        address = f"/vote/{self.code}/{path}"
        return self.http.get(address, headers=headers) if said is None else self.post(path, said, headers)

    def post(self, path: str, said: object, headers: dict[str, str]) -> Any:
        return self.http.post(f"/vote/{self.code}/{path}", json=said, headers=headers)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def http(clock: Clock) -> Iterator[TestClient]:
    with TestClient(Starlette(routes=vote_routes.vote_routes(clock)), client=("10.0.0.7", 50_000)) as client:
        yield client


@pytest.fixture
def room(http: TestClient) -> Class:
    return Class(http)


def test_a_step_from_the_question_to_the_result(room: Class) -> None:
    assert room.study(ANN, "join", {}).json()["phase"] == "waiting"
    room.teach("ask", QUESTION)
    seen = room.study(ANN, "state").json()
    assert (seen["phase"], seen["labels"], seen["answer"]) == ("open", LABELS, None)
    assert "0.5" not in json.dumps(seen)
    room.study(BEN, "join", {})  # who comes late
    room.study(ANN, "answer", {"number": 0, "place": 1})
    room.study(BEN, "answer", {"number": 0, "text": "<b>toy</b>"})
    counted = room.teach("class").json()
    assert (counted["students"], counted["answered"]) == (2, 2)
    assert "toy" not in json.dumps(counted)
    told = room.teach("reveal", REVEAL).json()
    assert told["phase"] == "revealed"
    assert told["result"]["others"] == [["<b>toy</b>", 1]]
    assert [option["votes"] for option in told["result"]["options"]] == [0, 1]
    assert room.study(ANN, "state").json()["worth"]["is_right"]
    assert room.teach("results").json()["results"] == [told["result"]]  # for a teacher's page that reloads
    room.teach("end", {})
    assert room.study(ANN, "state").status_code == 404
    assert room.teach("results").status_code == 404


def test_who_reloads_is_the_same_student(room: Class) -> None:
    room.teach("ask", QUESTION)
    for _ in range(3):
        room.study(ANN, "join", {})
        room.study(ANN, "answer", {"number": 0, "text": "most"})
    assert room.study(ANN, "join", {}).json()["answer"] == {"text": "most"}
    assert room.teach("class").json()["students"] == 1
    assert room.teach("reveal", REVEAL).json()["result"]["score"]["answers"] == 1


@pytest.mark.parametrize("path", ["ask", "reveal", "end", "qr", "class", "results"])
def test_the_teachers_rights_hang_on_a_secret_that_students_never_get(room: Class, http: TestClient, path: str) -> None:
    room.teach("ask", QUESTION)
    joined = room.study(ANN, "join", {})
    assert room.secret not in joined.text + str(joined.headers) + http.get(f"/vote/{room.code}").text
    other = Class(http)
    said = None if path in ("class", "results") else {"ask": QUESTION | {"number": 1}, "reveal": REVEAL}.get(path, {})
    for secret in ("", "x", room.code, ANN, other.secret):
        answer = room.teach(path, said, secret=secret)
        assert (answer.status_code, answer.json()["error"]) == (403, "no_right")
    assert room.teach("class").json()["phase"] == "open"


@pytest.mark.parametrize("student", [BEN, "", "x", "ann-" * 20, "<script>"])
def test_nobody_answers_with_an_id_that_has_not_joined(room: Class, student: str) -> None:
    room.teach("ask", QUESTION)
    room.study(ANN, "join", {})
    for answer in (room.study(student, "answer", {"number": 0, "place": 0}), room.study(student, "state")):
        assert answer.status_code in (403, 422)
    assert room.teach("class").json()["answered"] == 0


def test_what_no_page_of_ours_sends_gets_a_sentence_and_no_500(room: Class, http: TestClient) -> None:
    room.teach("ask", QUESTION)
    room.study(ANN, "join", {})
    address, headers = f"/vote/{room.code}/answer", {"x-vote-id": ANN}
    for body, status in (
        (b"", 422),
        (b"[]", 422),
        (b"null", 422),
        (b"nonsense", 400),
        (b'{"number": 1e999, "place": 0}', 400),
        (b'{"number": 0, "place": ' + b"9" * 5_000 + b"}", 400),
        (b"[" * 60_000, 400),
        (b'{"number": 0, "text": "\\ud800"}', 200),
        (b" " * (MAX_VOTE_BODY_BYTES + 1), 413),
    ):
        answer = http.post(address, content=body, headers=headers)
        assert answer.status_code == status, body[:30]
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert http.get(f"/vote/{room.code}/state?since=" + "9" * 5_000, headers=headers).status_code == 200
    assert http.get(f"/vote/{room.code}/nothing").status_code == 404
    assert room.study(ANN, "answer", {"number": 0, "text": " "}).json() == {
        "error": "invalid",
        "message": "The server did not understand the request. Reload the page and try again.",
    }


def test_another_sites_page_may_do_nothing(http: TestClient) -> None:
    for name, status in (("cross-site", 403), ("same-origin", 200), ("same-site", 200), ("none", 200)):
        assert http.post("/vote/open", json={}, headers={"sec-fetch-site": name}).status_code == status


def test_an_address_opens_so_many_sessions(http: TestClient) -> None:
    opened = [http.post("/vote/open", json={}) for _ in range(MAX_VOTE_SESSIONS_PER_ADDRESS + 1)]
    assert [answer.status_code for answer in opened] == [200] * MAX_VOTE_SESSIONS_PER_ADDRESS + [503]
    assert opened[-1].json()["message"].startswith("The server has as many votes as it may.")


def test_who_guesses_codes_is_slowed_down_and_who_is_in_is_not(room: Class, http: TestClient, clock: Clock) -> None:
    room.study(ANN, "join", {})
    said = [http.post("/vote/AAAAAA/join", json={}, headers={"x-vote-id": BEN}).status_code for _ in range(400)]
    assert said == [404] * 300 + [429] * 100
    assert room.study(ANN, "state").status_code == 200
    assert room.teach("class").status_code == 200
    assert room.study(BEN, "join", {}).status_code == 429
    clock.now += 1.0
    assert room.study(BEN, "join", {}).status_code == 200


def test_a_flood_from_one_address_is_cut_and_passes(clock: Clock) -> None:
    app = Starlette(routes=VoteRoutes(clock, burst=20).routes())
    with TestClient(app, client=("10.0.0.7", 50_000)) as http:
        flood(Class(http), clock)


def flood(room: Class, clock: Clock) -> None:
    room.study(ANN, "join", {})
    said = [room.study(ANN, "state").status_code for _ in range(30)]
    assert said == [200] * 18 + [429] * 12
    clock.now += 1.0
    assert room.study(ANN, "state").status_code == 200


def test_a_session_ends_after_two_hours(room: Class, clock: Clock) -> None:
    room.study(ANN, "join", {})
    clock.now = SESSION_SECONDS
    assert room.study(ANN, "state").json()["error"] == "unknown"
    assert room.teach("class").status_code == 404


def test_a_code_may_be_typed_in_small_letters(room: Class) -> None:
    room.code = room.code.lower()
    assert room.study(ANN, "join", {}).status_code == 200


def test_the_qr_code_holds_the_address(room: Class) -> None:
    told = room.teach("qr", {"address": "https://school.example/greedyscope/vote/"}).json()
    assert told["address"] == f"https://school.example/greedyscope/vote/{room.code}"
    assert told["path"] == qr_code(told["address"])["path"]
    assert set(told["path"]) <= set("Mhvz 0123456789-")
    for address in (None, 1, "", "javascript:alert(1)//", f"https://{'a' * 200}/", "https://학교.example/"):
        assert room.teach("qr", {"address": address}).status_code == 422


def test_the_qr_code_is_that_of_its_modules() -> None:
    """Drawn from the path, module by module: the three corners that a camera looks for, and as dark as it should be."""
    code = qr_code("http://192.168.0.10:7860/vote/K7QX3M")
    size = int(code["size"])
    dark = set()
    for part in str(code["path"]).strip("z").split("z"):
        x, y, length = (int(number) for number in part[1:].replace("h", " ").replace("v", " ").split()[:3])
        dark |= {(x + n, y) for n in range(length)}
    finder = ["1111111", "1000001", "1011101", "1011101", "1011101", "1000001", "1111111"]
    for left, top in ((4, 4), (size - 11, 4), (4, size - 11)):
        drawn = ["".join(str(int((left + x, top + y) in dark)) for x in range(7)) for y in range(7)]
        assert drawn == finder
    assert all(4 <= x < size - 4 and 4 <= y < size - 4 for x, y in dark)
    assert 0.35 < len(dark) / (size - 8) ** 2 < 0.65


def test_the_students_page_may_run_its_own_script_only(http: TestClient) -> None:
    for path in ("/vote/", "/vote/K7QX3M", "/vote/nothing"):
        answer = http.get(path)
        assert (answer.status_code, answer.content) == (200, vote_page().content)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
    assert http.get("/vote", follow_redirects=False).headers["location"] == "vote/"
    assert len(vote_page().content) < 60_000  # 35 phones load it at once
