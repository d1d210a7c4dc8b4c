"""The program as an MCP server, asked by a real client over HTTP; and without its package."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp import ClientSession, types
from mcp.client.streamable_http import streamable_http_client

import app as application
import decoding
from decoding.engines.local_engine import LocalEngine
from decoding.page import api
from decoding.questions.verify import TOLERANCE, recompute
from decoding.record.trace import Trace
from tests.page.test_api import ENDPOINTS
from tests.waiting import answer_of

ROOT = Path(__file__).resolve().parents[2]
ASKED = {"prompt": "Transformers are the", "steps": 3, "choices": 2}


@pytest.fixture(scope="module")
def address(drives_process: None) -> Iterator[str]:
    """The MCP server of the program itself, as it prints it."""
    # In this process, Gradio's MCP server would leave a loop and its sockets open at the end.
    command = [sys.executable, "app.py", "--model", "starter", "--device", "cpu", "--port", "0"]
    environment = os.environ | {"GREEDYSCOPE_MCP": "on", "GREEDYSCOPE_METRICS": "on"}
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=environment) as server:
        assert server.stdout
        try:
            yield next(line.split()[-1] for line in server.stdout if line.startswith("Its MCP server is at "))
        finally:
            server.kill()


@asynccontextmanager
async def client(address: str) -> AsyncIterator[ClientSession]:
    """A client that has introduced itself."""
    async with streamable_http_client(address) as (read, write, _), ClientSession(read, write) as session:
        await session.initialize()
        yield session


async def visit(address: str) -> tuple[list[Any], list[Any]]:
    """A client's visit: the tools, and what some calls return."""
    async with client(address) as session:
        tools = (await session.list_tools()).tools
        run = await session.call_tool("greedy", ASKED)
        branch = await session.call_tool("branch", ASKED | {"forced": [[0, 2911]]})
        refused = await session.call_tool("greedy", ASKED | {"steps": 3_000})
        check = await session.call_tool("check", {"run": run.content[0].text})
        drawn = await session.call_tool("sample", ASKED | {"seed": 3})
        draws = await session.call_tool("draws", ASKED | {"seed": 3, "count": 2})
        past = await session.call_tool("past_end", ASKED)
        message = await session.call_tool("as_message", ASKED | {"prompt": "Hi"})
        named = await session.call_tool("probability", {"prompt": ASKED["prompt"], "text": " most"})
        scored = await session.call_tool("score_prompt", {"run": run.content[0].text})
        return tools, [run, branch, refused, check, drawn, draws, past, message, named, scored]


def test_a_client_finds_the_tools_and_gets_the_run(address: str, starter: LocalEngine):
    tools, answers = answer_of(visit(address))
    assert [tool.name for tool in tools] == ENDPOINTS
    for tool in tools:
        assert tool.description.endswith(".")
        values = tool.inputSchema["properties"]
        assert "visitor" not in values
        assert all(value["description"] for value in values.values())
    assert tools[ENDPOINTS.index("score_prompt")].inputSchema["required"] == ["run"]
    texts = [answer.content[0].text for answer in answers]
    assert [answer.isError for answer in answers] == [False, False, True, *[False] * 7]
    run, branch = map(Trace.from_jsonl, texts[:2])
    for trace in (run, branch):  # another process may add up in another order
        assert recompute(starter, trace) < TOLERANCE
        assert (trace.prompt, len(trace.steps), trace.top_k) == ("Transformers are the", 3, 2)
    assert [step.forced for step in run.steps] == [False] * 3
    assert branch.generated_token_ids[0] == 2911
    assert texts[2] == "The number of steps has to be a whole number from 1 to 256, not 3,000."
    assert texts[3].startswith("A well-formed run: 3 steps (the step count was reached); log-probability ")
    drawn, draws, past, message, named, scored = texts[4:]
    assert json.loads(draws)["draws"][0]["token_ids"] == list(Trace.from_jsonl(drawn).generated_token_ids)
    assert json.loads(draws)["greedy"]["token_ids"] == list(run.generated_token_ids)
    assert (Trace.from_jsonl(past).past_end, Trace.from_jsonl(past).generated_text) == (True, run.generated_text)
    hello = decoding.trace(starter, "Hi", max_new_tokens=3, top_k=2, as_message=True)
    assert Trace.from_jsonl(message).prompt_tokens == hello.prompt_tokens
    assert Trace.from_jsonl(message).generated_token_ids == hello.generated_token_ids
    assert json.loads(named)["probability"] == pytest.approx(run.steps[0].candidates[0].probability, abs=TOLERANCE)
    assert len(Trace.from_jsonl(scored).prompt_scores) == len(run.prompt_tokens) - 1


SEARCH = {"prompt": "Once upon a time", "steps": 256, "beams": 8, "choices": 50}
"""A search of about a minute."""


async def is_served(address: str, number: int) -> bool:
    """Whether the server comes to serve this number of visitors within five seconds."""
    async with httpx.AsyncClient(base_url=address.removesuffix("gradio_api/mcp/"), timeout=60) as http:
        for _ in range(50):
            if f"greedyscope_running {number}.0" in (await http.get("/metrics")).text:
                return True
            await asyncio.sleep(0.1)
    return False


async def by_closing_the_session(address: str) -> None:
    async with client(address) as session:
        search = asyncio.create_task(session.call_tool("beam_search", SEARCH))
        assert await is_served(address, 1)
        search.cancel()


async def by_closing_the_connection(address: str) -> None:
    asked = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "beam_search", "arguments": SEARCH}}
    accept = {"accept": "application/json, text/event-stream"}
    async with httpx.AsyncClient() as http, http.stream("POST", address, json=asked, headers=accept):
        assert await is_served(address, 1)


async def by_closing_the_connection_of_a_call_with_progress(address: str) -> None:
    told: list[float] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        told.append(done)

    async with client(address) as session:
        search = asyncio.create_task(session.call_tool("beam_search", SEARCH, progress_callback=progress))
        assert await is_served(address, 1)
        while len(told) < 3:
            await asyncio.sleep(0.1)
        search.cancel()
    assert told == sorted(set(told))


async def by_cancelling_the_call(address: str) -> None:
    """Another client's call, which has the same number, goes on."""
    async with client(address) as other, client(address) as session:
        theirs = asyncio.create_task(other.call_tool("beam_search", SEARCH))
        assert await is_served(address, 1)
        ours = asyncio.create_task(session.call_tool("beam_search", SEARCH))
        assert await is_served(address, 2)
        number = session._request_id - 1
        assert number == other._request_id - 1
        cancelled = types.CancelledNotification(params=types.CancelledNotificationParams(requestId=number))
        await session.send_notification(types.ClientNotification(cancelled))
        answer = await asyncio.wait_for(ours, 5)
        assert (answer.isError, answer.content[0].text) == (True, "The call was cancelled.")
        assert await is_served(address, 1)
        await session.call_tool("check", {"run": ""})
        assert await is_served(address, 1)
        theirs.cancel()


LEAVE = (
    by_cancelling_the_call,
    by_closing_the_session,
    by_closing_the_connection,
    by_closing_the_connection_of_a_call_with_progress,
)


@pytest.mark.parametrize("leave", LEAVE)
def test_a_search_ends_when_its_caller_leaves(address: str, leave: Callable[[str], Coroutine[Any, Any, None]]):
    assert answer_of(is_served(address, 0))
    answer_of(leave(address))
    assert answer_of(is_served(address, 0))


async def give_back(address: str) -> list[Any]:
    """The largest run that the server writes, given back to its own tools."""
    async with client(address) as session:
        run = await session.call_tool("greedy", {"prompt": "Once upon a time", "steps": 256, "choices": 50})
        text = run.content[0].text
        asked = {"check": {}, "export": {"form": "md"}}
        return [text, *[await session.call_tool(tool, {"run": text} | more) for tool, more in asked.items()]]


def test_the_largest_run_can_be_given_back(address: str):
    text, *answers = answer_of(give_back(address))
    assert len(text) > 1_400_000
    check, export = (answer.content[0].text for answer in answers)
    assert check.startswith("A well-formed run: 256 steps")
    assert export == Trace.from_jsonl(text).to_markdown()


def test_a_stranger_can_hold_no_stream_open_there(address: str):
    for path in ("sse", "messages/", "http", "x"):
        answer = httpx.get(address + path, timeout=60)
        assert (answer.status_code, answer.text) == (404, "There is nothing at this address.")
    answer = httpx.get(address, headers={"accept": "text/event-stream"}, timeout=5)
    assert (answer.status_code, answer.text) == (405, "This server sends nothing that was not asked for: send a POST.")


@pytest.mark.parametrize(
    ("there", "sentence"),
    [
        (None, "--mcp on needs version 1 of the package mcp, which is not installed."),
        ("2.3.0", "--mcp on needs version 1 of the package mcp, and here is 2.3.0."),
    ],
)
def test_without_its_package_it_is_refused_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, there: str | None, sentence: str
):
    def version(name: str) -> str:
        if there is None:
            raise api.PackageNotFoundError(name)
        return there

    monkeypatch.setattr(api, "version", version)
    page = application.build_app(lambda name, report: None, ["starter"])
    with pytest.raises(SystemExit) as refused:
        application.launch(page, mcp=True)
    assert str(refused.value) == f'{sentence} Run: pip install "gradio[mcp]"'


def test_it_is_off_where_nobody_asked_for_it():
    assert application.settings([]).mcp == "off"
