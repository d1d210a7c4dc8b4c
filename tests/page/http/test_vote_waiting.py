"""Phones and teachers who wait: they hear of what is new for them without asking again."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Any

import httpx
from starlette.applications import Starlette

from decoding.page.http import vote_waiting
from decoding.page.http.vote_routes import VoteRoutes
from tests.page.http.vote_bodies import ANN, QUESTION, REVEAL


def rehearse(play: Any) -> None:
    """Play with a server in an event loop of its own: this thread may have one, of a browser."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, rehearsed(play)).result(300)


async def rehearsed(play: Any) -> None:
    app = Starlette(routes=VoteRoutes(monotonic, wait_seconds=600.0).routes())  # only news ends a wait here
    transport = httpx.ASGITransport(app, client=("10.0.0.7", 50_000))
    async with httpx.AsyncClient(transport=transport, base_url="http://a") as http:
        opened = (await http.post("/vote/open", json={})).json()
        base = f"/vote/{opened['code']}"

        async def study(student: str, path: str, said: object = None) -> Any:
            headers = {"x-vote-id": student}
            done = http.get(f"{base}/{path}", headers=headers) if said is None else http.post(
                f"{base}/{path}", headers=headers, json=said
            )  # fmt: skip
            return (await done).json()

        async def teach(path: str, said: object = None) -> Any:
            headers = {"x-vote-secret": opened["secret"]}
            done = http.get(f"{base}/{path}", headers=headers) if said is None else http.post(
                f"{base}/{path}", headers=headers, json=said
            )  # fmt: skip
            return (await done).json()

        await play(study, teach)


def test_phones_hear_of_a_reveal_without_asking_again() -> None:
    async def play(study: Any, teach: Any) -> None:
        students = [f"{number:02}" * 12 for number in range(35)]
        version = {(await study(one, "join", {}))["version"] for one in students}.pop()
        for news in (QUESTION, REVEAL):
            waits = [asyncio.create_task(study(one, f"state?since={version}")) for one in students]
            await asyncio.sleep(0)
            await teach("ask" if news is QUESTION else "reveal", news)
            told = await asyncio.wait_for(asyncio.gather(*waits), 60)
            assert {state["phase"] for state in told} == {"open" if news is QUESTION else "revealed"}
            version = told[0]["version"]

    rehearse(play)


def test_a_teacher_hears_of_each_answer_and_of_nothing_else() -> None:
    async def play(study: Any, teach: Any) -> None:
        await study(ANN, "join", {})
        seen = (await teach("ask", QUESTION))["version"]
        waits = asyncio.create_task(teach(f"class?since={seen}"))
        for _ in range(100):
            await study(ANN, "state")
            await asyncio.sleep(0)  # so that the others go on
        assert not waits.done()
        await study(ANN, "answer", {"number": 0, "place": 0})
        assert (await asyncio.wait_for(waits, 60))["answered"] == 1

    rehearse(play)


def test_a_wait_has_an_end_and_a_third_one_is_none() -> None:
    async def play(study: Any, teach: Any) -> None:
        version = (await study(ANN, "join", {}))["version"]
        waits = [asyncio.create_task(study(ANN, f"state?since={version}")) for _ in range(10)]
        for _ in range(100):
            await study(ANN, "state")
            await asyncio.sleep(0)  # so that the others go on
        assert sum(wait.done() for wait in waits) == 10 - vote_waiting.MAX_WAITING
        await teach("end", {})
        assert {(await asyncio.wait_for(wait, 60))["phase"] for wait in waits} == {"waiting", "ended"}

    rehearse(play)
