"""Calls of the MCP server's tools with wrong values and arguments. tests/page/test_mcp.py has those that run."""

import asyncio
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

import app as application
import decoding
from tests.browser import served
from tests.fakes import ScriptedEngine

RUN = decoding.trace(ScriptedEngine(), "a", max_new_tokens=3, top_k=2).to_jsonl()
WRONG = (None, True, 8.5, -1, "no", "", ["a"], [[["a"]]], {"a": 1})
NEEDED = {"run": RUN, "text": "b", "step": 0}


@pytest.fixture(scope="module")
def address(drives_server: None) -> Iterator[str]:
    page = application.build_app(lambda name, report: ScriptedEngine(), ["scripted"])
    with served(page, mcp=True) as url:
        yield f"{url}gradio_api/mcp/"


def answer_of(visit: Coroutine[Any, Any, Any]) -> Any:
    """What a visit returns, in a thread of its own: this one may hold Playwright's loop."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, visit).result()


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
            f'The tool greedy does not take "promt", "{"x" * 80}". Its arguments are: prompt, steps, choices, model.',
        ),
        ("greedy", {"visitor": "a"}, 'The tool greedy does not take "visitor".'),
        ("check", {}, 'The tool check needs "run". Its arguments are: run.'),
        ("lens", {"step": 0}, 'The tool lens needs "run". Its arguments are: run, step.'),
        (
            "export",
            {"run": RUN, "format": "csv"},
            'The tool export does not take "format". Its arguments are: run, form.',
        ),
        ("gredy", {}, 'There is no tool "gredy" here.'),
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
    assert asked[0][1] == 'There is no tool "check" here.'
