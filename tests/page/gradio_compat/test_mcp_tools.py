"""Calls of the MCP server's tools with wrong values and arguments. tests/page/test_mcp.py has those that run."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

import app as application
import decoding
from decoding.limits import MAX_RUN_BYTES
from decoding.page.http.request_filter import MAX_EVENT_BYTES
from tests.browser import served
from tests.fakes import ScriptedEngine
from tests.waiting import answer_of

RUN = decoding.trace(ScriptedEngine(), "a", max_new_tokens=3, top_k=2).to_jsonl()
WRONG = (None, True, 8.5, -1, "no", "", ["a"], [[["a"]]], {"a": 1})
NEEDED = {"run": RUN, "text": "b", "step": 0}


@pytest.fixture(scope="module")
def address(drives_server: None) -> Iterator[str]:
    page = application.build_app(lambda name, report: ScriptedEngine(), ["scripted"])
    with served(page, mcp=True) as url:
        yield f"{url}gradio_api/mcp/"


async def answers(address: str, *calls: tuple[str, dict[str, Any]]) -> list[tuple[bool, str]]:
    """Whether each call is refused, and with which words it is answered."""
    async with streamable_http_client(address) as (read, write, _), ClientSession(read, write) as session:
        await session.initialize()
        answered = [await session.call_tool(name, arguments) for name, arguments in calls]
        return [(bool(one.isError), one.content[0].text) for one in answered]  # type: ignore[union-attr]


async def arguments_of_all_tools(address: str) -> dict[str, dict[str, Any]]:
    async with streamable_http_client(address) as (read, write, _), ClientSession(read, write) as session:
        await session.initialize()
        return {tool.name: tool.inputSchema["properties"] for tool in (await session.list_tools()).tools}


def test_a_value_of_a_wrong_type_is_refused_in_a_sentence_of_ours(address: str):
    tools = answer_of(arguments_of_all_tools(address))
    calls = [
        (tool, {key: NEEDED[key] for key in arguments if key in NEEDED} | {argument: value})
        for tool, arguments in tools.items()
        for argument in arguments
        for value in WRONG
    ]
    for (tool, given), (is_refused, said) in zip(calls, answer_of(answers(address, *calls)), strict=True):
        if is_refused:
            assert said.endswith("."), (tool, given)
            assert not said.startswith(("Something went wrong", "Input validation error")), (tool, given)
    [steps] = answer_of(answers(address, ("greedy", {"steps": 8.5})))
    assert steps == (True, "The number of steps has to be a whole number from 1 to 256, not 8.5.")


@pytest.mark.parametrize(
    ("tool", "given", "sentence"),
    [
        (
            "greedy",
            {"promt": "a", "x" * 999: 1},
            f"The tool greedy does not take “promt”, “{'x' * 40}”. It takes: prompt, steps, choices, model.",
        ),
        ("greedy", {"visitor": "a"}, "The tool greedy does not take “visitor”."),
        ("check", {}, "The tool check needs “run”. It takes: run."),
        ("lens", {"step": 0}, "The tool lens needs “run”. It takes: run, step, follow."),
        ("export", {"run": RUN, "format": "csv"}, "The tool export does not take “format”. It takes: run, form."),
        ("gredy", {}, "There is no tool “gredy” here."),
    ],
)
def test_arguments_that_a_tool_does_not_have_are_named_with_those_that_it_has(
    address: str, tool: str, given: dict[str, Any], sentence: str
):
    [(is_refused, said)] = answer_of(answers(address, (tool, given)))
    assert is_refused
    assert said.startswith(sentence)


def test_an_address_may_choose_tools(address: str):
    chosen = f"{address}?tools=greedy"
    assert [*answer_of(arguments_of_all_tools(chosen))] == ["greedy"]
    asked = answer_of(answers(chosen, ("check", {"run": RUN}), ("greedy", {"prompt": "a"})))
    assert [is_refused for is_refused, _ in asked] == [True, False]
    assert asked[0][1] == "There is no tool “check” here."


def padded(size: int) -> str:
    """A run of exactly so many bytes."""
    header, rest = RUN.split("\n", 1)
    return f"{header}{' ' * (size - len(RUN))}\n{rest}"


def test_the_largest_run_is_read_and_a_larger_one_is_refused_with_its_size(address: str):
    read, refused, after = answer_of(
        answers(
            address,
            ("check", {"run": padded(MAX_RUN_BYTES)}),
            ("export", {"run": padded(MAX_RUN_BYTES + 1)}),
            ("check", {"run": RUN}),
        )
    )
    assert (read, after) == ((False, after[1]), (False, read[1]))
    sentence = "The run has 8,388,609 bytes; at most 8,388,608 are read here. Make one of fewer steps or choices."
    assert refused == (True, sentence)


def test_a_request_that_no_run_needs_is_not_read(address: str):
    called = {"name": "check", "arguments": {"run": padded(MAX_EVENT_BYTES)}}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": called}).encode()
    answer = httpx.post(address, content=body, timeout=60)
    assert answer.status_code == 413
    assert answer.text == f"The request has {len(body):,} bytes; no more than 12,582,912 are read here."


@pytest.mark.parametrize("params", [None, [], "a", {}, {"requestId": []}, {"requestId": 7}, {"requestId": "\ud800"}])
@pytest.mark.parametrize("client", ["", "somebody else"])
def test_a_cancellation_of_no_call_is_accepted(address: str, params: object, client: str):
    notice = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}
    headers = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
    answer = httpx.post(address, content=json.dumps(notice), headers=headers | {"mcp-session-id": client}, timeout=60)
    assert answer.status_code in (202, 400)
    assert answer.status_code == 202 or "Validation error" in answer.text


def test_a_goodbye_with_rubbish_in_it_is_refused(address: str):
    assert httpx.request("DELETE", address, content=b"{", timeout=60).status_code == 405
