"""The private parts of Gradio and uvicorn that this project leans on are those that were read."""

import hashlib
import inspect
import re
from pathlib import Path
from typing import Any

import gradio
import gradio as gr
import pytest
import uvicorn
from gradio import networking
from gradio.blocks import Block
from gradio.components.api_component import Api
from gradio.http_server import Server
from gradio.mcp import GradioMCPServer
from gradio.queueing import Queue
from gradio.state_holder import SessionState
from gradio.utils import get_function_description, get_function_params
from mcp.server import Server as McpServer
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

import app as application
from decoding.page import gradio_compat
from tests.fakes import ScriptedEngine

LAST_READ = {"Gradio": "6.31.0", "uvicorn": "0.54.0"}
INSTALLED = {"Gradio": gradio.__version__, "uvicorn": uvicorn.__version__}
README = (Path(gradio_compat.__file__).parent / "README.md").read_text("utf-8")

PRIVATE: dict[str, tuple[Any, str]] = {
    "Server.run_in_thread": (Server.run_in_thread, "6ff826027c02"),
    "Queue.push": (Queue.push, "c7b4091f41b8"),
    "Queue.compute_analytics_summary": (Queue.compute_analytics_summary, "fce570ad9e7b"),
    "SessionState._update_value_in_config": (SessionState._update_value_in_config, "7e5b61f747b0"),
    "Block.get_config": (Block.get_config, "78fb4f5222ba"),
    "networking.url_ok": (networking.url_ok, "5326ae385233"),
    "GradioMCPServer.create_mcp_server": (GradioMCPServer.create_mcp_server, "333c469eb0d8"),
    "GradioMCPServer.get_selected_tools_from_request": (
        GradioMCPServer.get_selected_tools_from_request,
        "6d7c31603cbf",
    ),
    "GradioMCPServer.get_block_fn_from_endpoint_name": (
        GradioMCPServer.get_block_fn_from_endpoint_name,
        "c41a0edf8e47",
    ),
    "GradioMCPServer.get_tool_to_endpoint": (GradioMCPServer.get_tool_to_endpoint, "767857a8053c"),
    "HttpToolsProtocol": (HttpToolsProtocol, "18fdf324b11b"),
    "Api": (Api, "6fd143c8629a"),
    "gr.EventData": (gr.EventData, "c4703de66f6c"),
    "get_function_description": (get_function_description, "1a16d098eb1d"),
    "get_function_params": (get_function_params, "ec9c00d4f8ab"),
}
"""What is replaced, overridden or relied on, by name: the thing, and the beginning of its source's sha256 when it was
read."""


@pytest.mark.parametrize("name", PRIVATE)
def test_a_private_part_is_as_it_was_read(name: str) -> None:
    thing, read = PRIVATE[name]
    now = hashlib.sha256(inspect.getsource(thing).encode()).hexdigest()[:12]
    assert now == read, (
        f"{name} is not as it was read in {LAST_READ}; installed are {INSTALLED}. Read it again, look at what "
        "leans on it (decoding/page/gradio_compat/README.md), and note the version and this digest."
    )


def test_the_readme_names_the_versions_that_were_read() -> None:
    gradios, uvicorns = LAST_READ.values()
    assert f"**Last read against Gradio {gradios} and uvicorn {uvicorns}.**" in README


def test_the_readme_has_a_row_for_each_file_and_each_private_part() -> None:
    files = {path.name for path in Path(gradio_compat.__file__).parent.glob("*.py")} - {"__init__.py"}
    assert files == {name for name in files if f"\n| `{name}` |" in README}
    named = {part for code in re.findall(r"`([\w.]+)", README) for part in code.split(".")}
    assert [name for name in PRIVATE if name.rpartition(".")[2] not in named] == []


def test_the_attributes_that_are_read_and_set_are_there() -> None:
    """Those that have no source of their own."""
    page: Any = application.build_app(lambda name, report: ScriptedEngine(), ["scripted"])
    queue = page._queue
    for name in ("pending_messages_per_session", "pending_event_ids_session", "event_ids_to_events"):
        assert isinstance(getattr(queue, name), dict), name
    assert queue.ANALYTICS_MAX_EVENTS > 0
    assert page.is_running is False
    assert "_frontend" in inspect.signature(gr.Blocks.launch).parameters
    tools = GradioMCPServer(page)
    assert set(tools.tool_to_endpoint) == {one.removeprefix("/") for one in tools.tool_to_endpoint.values()}
    assert isinstance(tools.mcp_server, McpServer)
    assert tools.manager.asgi_app.max_body_size > 0
    assert callable(tools.manager.handle_request)
    settings = uvicorn.Config(lambda: None)
    assert all(hasattr(settings, name) for name in ("app", "http", "ws", "proxy_headers"))
    server = uvicorn.Server(settings)
    assert (server.should_exit, server.force_exit, server.started) == (False, False, False)
    assert gr.EventData(None, [0, 1])._data == [0, 1]
