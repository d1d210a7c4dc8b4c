"""The tools of the MCP server: a call runs for as long as its caller is connected and does not cancel it.

Owns how a tool's call becomes a call of an endpoint. Gradio would ask its own HTTP API, as one client for all callers,
and wait in a thread: that run goes on when the caller has left. Knows no run.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from functools import partial
from typing import Any

import gradio as gr

from decoding.page.gradio_endpoints import VISITOR
from decoding.page.http.addresses import address_of
from decoding.page.http.allowed_events import check_names
from decoding.page.http.mcp_cancellation import CLIENT, CancellableCalls
from decoding.page.http.request_body import RefusedError
from decoding.page.http.request_filter import MAX_EVENT_BYTES
from decoding.page.http.thread_pool import WorkerPool
from decoding.requests.values import shown


def tool_calls(page: gr.Blocks) -> Callable[[Any], AbstractAsyncContextManager[None]]:
    """The lifespan of a page's server in which this module answers its MCP server's calls, for `app_kwargs`."""

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        _answer_calls(page)
        yield

    return lifespan


def _answer_calls(page: gr.Blocks) -> None:
    """Replace the function with which Gradio answers calls, and the limit of the package mcp of 4 MB; let calls be
    cancelled.
    """
    gradios: Any = page.mcp_server_obj
    if limited := getattr(gradios.manager, "asgi_app", None):  # older versions of mcp have no limit
        limited.max_body_size = MAX_EVENT_BYTES
    gradios.manager.handle_request = calls = CancellableCalls(gradios.manager.handle_request)
    files = WorkerPool()

    async def answer(function: Callable[..., Any], values: list[Any], context: Any) -> str:
        if inspect.isasyncgenfunction(function):
            return await _last(function(gr.Request(context.request), *values), context)
        address = address_of(context.request)
        # A closed connection cancels this, so nothing else has to say that the caller has left.
        return await files.run(partial(function, *values), address, asyncio.Event().wait)

    # The endpoints check their own values, and say more than a schema can.
    @gradios.mcp_server.call_tool(validate_input=False)  # type: ignore[untyped-decorator]
    async def call(name: str, arguments: dict[str, Any]) -> list[Any]:
        function = _function_of(gradios, name)
        values = _values(name, function, arguments)
        context = gradios.mcp_server.request_context
        try:
            with calls.running(context.request.headers.get(CLIENT, ""), str(context.request_id)):
                text = await answer(function, values, context)
                return [gradios.types.TextContent(type="text", text=text)]
        except gr.Error as error:
            raise RefusedError(422, error.message) from error
        raise RefusedError(499, "The call was cancelled.")


def _function_of(gradios: Any, name: str) -> Callable[..., Any]:
    """The endpoint behind a tool. Raises RefusedError for an unknown tool, and for one that the client left out: its
    address may list the tools that it wants.
    """
    chosen = gradios.get_selected_tools_from_request()
    if name not in gradios.tool_to_endpoint or (chosen is not None and name not in chosen):
        raise RefusedError(404, f"There is no tool {shown(name)} here.")
    function: Callable[..., Any] = gradios.get_block_fn_from_endpoint_name(gradios.tool_to_endpoint[name]).fn
    return function


def _values(name: str, function: Callable[..., Any], arguments: dict[str, Any]) -> list[Any]:
    """The values of a call in the order of the endpoint's parameters. Raises RefusedError for arguments that are
    unknown or missing.
    """
    taken = {key: one.default for key, one in inspect.signature(function).parameters.items() if key != VISITOR}
    required = [key for key, default in taken.items() if default is inspect.Parameter.empty]
    check_names(arguments, taken, required, whose=f"The tool {name}")
    return [*(taken | arguments).values()]


async def _last(answers: Any, context: Any) -> str:
    """The last of an endpoint's answers. A client that asks for progress is told of each, so that it goes on waiting.
    Closes the endpoint, and so ends its run, when the caller's connection is closed: that cancels this.
    """
    token = context.meta.progressToken if context.meta else None
    last, count = "", 0
    async with aclosing(answers):
        async for answer in answers:
            last, count = answer, count + 1
            if token is not None:
                await context.session.send_progress_notification(
                    token, count, related_request_id=str(context.request_id)
                )
    return last
