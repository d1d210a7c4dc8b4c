"""Settings and launch: `python app.py [--model ID] [--engine URL] [--device …] [--dtype …] [--host …] [--port …]`.

Each option can be given as an environment variable, GREEDYSCOPE_MODEL and so on, because Spaces are configured that
way.
"""

import argparse
import os
import signal
import socket
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from decoding import options
from decoding.engines import Engine, is_server
from decoding.errors import RequestError
from decoding.models.catalogue import Entry, offered
from decoding.models.lent import zero_gpu
from decoding.models.malloc import few_heaps
from decoding.models.resources import free_memory, limit_memory, resident
from decoding.models.starter import STARTER_ID
from decoding.serving.memory_budget import MemoryBudget
from decoding.serving.model_registry import Loader, Look, Report, Shelf
from decoding.startup import quick_imports, without_stubs

if TYPE_CHECKING:  # importing gradio takes longer than all that is done before it
    import gradio as gr

# Before gradio is imported: it would look up two hosts at launch.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
# Before torch is: its threads otherwise wait for each other without pause, and where others want a core as well a step
# takes several times as long (a class of twelve on two cores: 18 s, and 7 s so).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

MAX_EVENTS = 256
"""Events that Gradio handles at once, waiting visitors among them; the line before the model is shorter."""
MAX_SESSIONS = 256
"""Visitors of whom Gradio remembers what their page shows, the last run of each among it. Nothing here needs it: a
request carries all there is to know. Gradio's own 10,000 would be hundreds of MB.
"""
TURN_SECONDS = 0.0005
"""How long a thread of Python may keep another one waiting. A step asks for Python some hundred times, between one
product and the next, and with Python's own 0.005 waits each time that the page is at work.
"""

OPTIONS: tuple[tuple[str, str, options.Check, str], ...] = (
    ("engine", "auto", options.engine, "auto, torch, or the address of a vLLM server that computes the model"),
    ("model", "+", options.models, 'models to offer, separated by commas; "+" and a list adds to the catalogue'),
    ("device", "auto", options.one_of("auto", "cuda", "mps", "cpu"), "auto, cuda, mps or cpu"),
    ("dtype", "auto", options.one_of("auto", "float32", "bfloat16", "float16"), "auto, float32, bfloat16 or float16"),
    ("host", "127.0.0.1", options.host, "the address to listen on; 0.0.0.0 for all, :: for all of IPv6"),
    ("port", "7860", options.whole(0, 65_535), "the port to listen on; 0 for any that is free"),
    ("root-path", "", options.prefix, "the path prefix under which a proxy serves the page, as /greedyscope"),
    ("runs", "32", options.whole(1, 1_000), "visitors served at once"),
    ("waiting", "64", options.whole(0, 10_000), "visitors who may wait in line"),
    ("seconds", "300", options.whole(1, 86_400), "the longest that one run may take"),
    (
        "memory",
        "auto",
        options.amount,
        "the memory that the process may take, as 1.5GB; auto: what is free, less a tenth",
    ),
    ("metrics", "off", options.one_of("on", "off"), "on: /metrics for Prometheus"),
    (
        "mcp",
        "off",
        options.one_of("on", "off"),
        "on: the endpoints are tools of an MCP server; needs the package mcp",
    ),
)
"""Name, default, check and meaning of each."""


def settings(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options, from the command line or else from the environment. Leaves with a sentence for what is none."""
    parser = options.Parser("python app.py", "Greedyscope: watch a language model decode greedily.")
    for name, default, check, text in OPTIONS:
        variable = f"GREEDYSCOPE_{name.upper().replace('-', '_')}"
        if name == "host" and variable not in os.environ and "GRADIO_SERVER_NAME" in os.environ:
            variable = "GRADIO_SERVER_NAME"  # which a Space sets
        parser.add(name, default, check, text, environment=variable)
    return parser.parse_args(arguments)


def memory_budget(chosen: argparse.Namespace) -> MemoryBudget:
    """What models and requests may take. Leaves with a sentence where that is less than is taken already."""
    process, total = resident(), chosen.memory
    if total == "auto":
        return MemoryBudget(process + free_memory() * 9 // 10, process=process)
    if total <= process:
        raise SystemExit(f"--memory has to be more than the {process // 10**6} MB that the process takes already.")
    limit_memory(total)
    return MemoryBudget(total, process=process)


def build_app(loader: Loader, models: Sequence[str], look: Look | None = None) -> "gr.Blocks":
    """The page over `loader`, which loads a model by name; `models` are the names that visitors may choose, and `look`
    says how each of them stands.
    """
    return _build(Shelf(loader, models, look))


def _build(shelf: Shelf, **limits: float) -> "gr.Blocks":
    """`limits` are those of `decoding.serving.admission.Line`."""
    with without_stubs():
        from decoding.page import Line, build_page

    return build_page(shelf, Line(**limits))  # type: ignore[arg-type]


def launch(app: "gr.Blocks", *, metrics: bool = False, mcp: bool = False, **gradios: Any) -> str:
    """Serve `app` as this project serves it, and return its address. `gradios` are Gradio's own options."""
    import gradio as gr

    from decoding.assets import plotly_js
    from decoding.page import health_routes
    from decoding.page.api import check_mcp
    from decoding.page.gradio_compat.sessions import bound
    from decoding.page.gradio_compat.startup import patiently
    from decoding.page.http.export_routes import file_routes
    from decoding.page.http.request_filter import guarded
    from decoding.page.panel import page_css, page_head

    if mcp:
        check_mcp()
    app.queue(api_open=False, max_size=MAX_EVENTS)
    bound(app)
    _, url, _ = app.launch(
        css=page_css(),
        head=page_head(),
        # The theme's own blue is too light for white letters.
        theme=gr.themes.Default(primary_hue="blue", neutral_hue="slate").set(
            button_primary_background_fill="*primary_600",
            button_primary_background_fill_hover="*primary_700",
            button_primary_background_fill_dark="*primary_600",
            button_primary_background_fill_hover_dark="*primary_700",
        ),
        run_history=False,
        enable_monitoring=False,
        ssr_mode=False,
        footer_links=["api"],
        share=False,
        quiet=True,
        mcp_server=mcp,
        app_kwargs={
            "routes": [*file_routes(), *health_routes(app, metrics=metrics)],
            **guarded(app, frozenset([plotly_js().as_posix()])),
        },
        max_threads=MAX_EVENTS,
        state_session_capacity=MAX_SESSIONS,
        **patiently(),
        **gradios,
    )
    return url


def free_port(host: str) -> int:
    """A port that the operating system picks. Gradio would take 0 for the port's number."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _loader(chosen: argparse.Namespace, entries: Mapping[str, Entry]) -> Loader:
    """What loads a model by its name: into this process, or a server's from the server."""

    def load(model: str, report: Report) -> Engine:
        if is_server(chosen.engine):
            from decoding.engines.vllm.engine import connect  # here: what computes takes a while to import

            return connect(chosen.engine, model=entries[model], dtype=chosen.dtype, report=report)
        from decoding.engines.batching.engine import BatchedEngine
        from decoding.engines.loading import load as load_engine

        options = {"device": chosen.device, "dtype": chosen.dtype, "engine": chosen.engine}
        engine = load_engine(entries[model], **options, report=report)
        if zero_gpu():
            from decoding.engines.zero_gpu import ZeroGpuEngine

            return ZeroGpuEngine(engine)
        crowd = BatchedEngine(engine)
        for _ in crowd.steps([crowd.beginning_id or 0], max_new_tokens=1, top_k=1):
            pass  # the first pass is the slowest, and no visitor's
        return crowd

    return load


def entries_of(chosen: argparse.Namespace) -> dict[str, Entry]:
    """The models to offer, by name. Raises SystemExit with a sentence for what is no list of them."""
    if not is_server(chosen.engine):
        named = chosen.model
    elif (named := STARTER_ID if chosen.model == "+" else chosen.model).startswith("+") or "," in named:
        raise SystemExit(f'A server computes one model, and --model names more: "{named[:80]}". Name that one.')
    try:
        return {entry.name: entry for entry in offered(named)}
    except RequestError as error:
        raise SystemExit(str(error)) from error


def _shelf(chosen: argparse.Namespace, entries: Mapping[str, Entry]) -> Shelf:
    """The models to offer. Where the GPU is lent they are loaded by then."""
    if zero_gpu():
        import decoding.engines.zero_gpu  # noqa: F401  # before CUDA is touched

    @cache
    def looking() -> Look:
        from decoding.serving import availability  # here: the page does not wait for the Hub's library

        if is_server(chosen.engine):
            return availability.elsewhere([*entries.values()])
        return availability.looking([*entries.values()], dtype=chosen.dtype)

    def needs(name: str) -> int:
        if is_server(chosen.engine):
            return 0
        needed = entries[name].memory_unpacked if chosen.engine == "torch" else entries[name].memory_needed
        return needed("bfloat16" if chosen.dtype == "auto" else chosen.dtype)

    loader, memory = _loader(chosen, entries), memory_budget(chosen)
    shelf = Shelf(loader, [*entries], lambda ready: looking()(ready), memory=memory, needs=needs, measure=resident)
    if zero_gpu():  # its process is a fork of this one, and `spaces` stands in for CUDA in this thread and no other
        for name in shelf.names:
            shelf.load_here(name)
    return shelf


def _told_to_end() -> threading.Event:
    """What is set from here on by SIGTERM and Control-C."""
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.set())
    return told


def main() -> None:
    chosen = settings()
    entries = entries_of(chosen)
    options.check_listening(chosen.host, chosen.port)
    few_heaps()
    sys.setswitchinterval(TURN_SECONDS)
    first = next(iter(entries))
    shelf = _shelf(chosen, entries)
    with quick_imports():
        with without_stubs():
            import decoding.page  # noqa: F401  # its libraries are linked before torch is
        app = _build(shelf, runs=chosen.runs, waiting=chosen.waiting, seconds=chosen.seconds)
        port = chosen.port or free_port(chosen.host)
        at: dict[str, Any] = {"server_name": options.in_brackets(chosen.host), "server_port": port}
        switches = {name: getattr(chosen, name) == "on" for name in ("metrics", "mcp")}
        url = launch(app, prevent_thread_lock=True, root_path=chosen.root_path or None, **switches, **at)
        from decoding.page import log_lines
        from decoding.page.gradio_compat.shutdown import close
    log_lines()
    told_to_end = _told_to_end()
    print(f"Greedyscope is at {url}", flush=True)
    if chosen.mcp == "on":
        print(f"Its MCP server is at {url}gradio_api/mcp/", flush=True)
    shelf.request(first)  # only now: the page answers first
    while not told_to_end.wait(0.5):  # so that Windows hears of it too
        pass
    close(app)
    sys.stdout.flush()
    os._exit(0)  # the usual way would take the memory from under threads that are still computing


if __name__ == "__main__":
    main()
