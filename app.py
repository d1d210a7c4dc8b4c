"""Settings and launch: `python app.py [--model ID] [--device …] [--dtype …] [--host …] [--port …]`.

Each option can be given as an environment variable, GREEDYSCOPE_MODEL and so on, because Spaces are configured that
way.
"""

import argparse
import logging
import os
import socket
from collections.abc import Sequence
from concurrent.futures import wait
from functools import cache
from typing import TYPE_CHECKING, Any

from decoding.catalogue import offered
from decoding.engines import Engine
from decoding.errors import RequestError
from decoding.lent import zero_gpu
from decoding.shelf import Loader, Look, Report, Shelf
from decoding.startup import quick_imports, read_ahead, without_stubs

if TYPE_CHECKING:  # importing gradio takes longer than all that is done before it
    import gradio as gr

# Before gradio is imported: it would look up two hosts at launch.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
# Before torch is: its threads (GNU OpenMP's) otherwise wait for each other without pause, and where a browser wants a
# core as well a step takes several times as long.
os.environ.setdefault("GOMP_SPINCOUNT", "30000")


MAX_EVENTS = 256
"""Events that Gradio handles at once, waiting visitors among them; the line before the model is shorter."""


def settings(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options, from the command line or else from the environment."""
    parser = argparse.ArgumentParser(description="Greedyscope: watch a language model decode greedily.")
    for name, default, text in (
        ("model", "+", 'models to offer, separated by commas; "+" and a list adds to the catalogue'),
        ("device", "auto", "auto, cuda, mps or cpu"),
        ("dtype", "auto", "auto, float32, bfloat16 or float16"),
        ("host", os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"), "the address to listen on; 0.0.0.0 for all"),
        ("port", "7860", "the port to listen on; 0 for any that is free"),
        ("root-path", "", "the path prefix under which a proxy serves the page, as /greedyscope"),
        ("runs", "32", "visitors served at once"),
        ("waiting", "64", "visitors who may wait in line"),
        ("seconds", "300", "the longest that one run may take"),
        ("metrics", "off", "on: /metrics for Prometheus"),
    ):
        default = os.environ.get(f"GREEDYSCOPE_{name.upper().replace('-', '_')}", default)
        parser.add_argument(f"--{name}", default=default, help=f"{text} ({default})")
    return parser.parse_args(arguments)


def build_app(loader: Loader, models: Sequence[str], look: Look | None = None) -> "gr.Blocks":
    """The page over `loader`, which loads a model by name; `models` are the names that visitors may choose, and `look`
    says how each of them stands.
    """
    return _build(Shelf(loader, models, look))


def _build(shelf: Shelf, **limits: float) -> "gr.Blocks":
    """`limits` are those of `decoding.page.line.Line`."""
    with without_stubs():
        from decoding.page import Line, build_page

    return build_page(shelf, Line(**limits))  # type: ignore[arg-type]


def launch(app: "gr.Blocks", *, metrics: bool = False, **options: Any) -> str:
    """Serve `app` as this project serves it, and return its address. `options` are Gradio's own."""
    import gradio as gr

    from decoding.assets import plotly_js
    from decoding.page import health_routes
    from decoding.page.guard import guarded
    from decoding.page.keeping import file_routes
    from decoding.page.panel import page_css, page_head

    files = frozenset([plotly_js().as_posix()])
    app.queue(api_open=False, max_size=MAX_EVENTS)
    _, url, _ = app.launch(
        css=page_css(),
        head=page_head(),
        theme=gr.themes.Default(primary_hue="blue", neutral_hue="slate"),
        run_history=False,
        enable_monitoring=False,
        ssr_mode=False,
        footer_links=["api"],
        share=False,
        quiet=True,
        app_kwargs={
            "routes": [*file_routes(), *health_routes(app, metrics=metrics)],
            "middleware": guarded(app, files),
        },
        max_threads=MAX_EVENTS,
        **options,
    )
    return url


def free_port(host: str) -> int:
    """A port that the operating system picks. Gradio would take 0 for the port's number."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _log_lines() -> None:
    """Have what this project logs written as one line of JSON each."""
    from decoding.page import JsonLines

    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    log = logging.getLogger("decoding")
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False


def main() -> None:
    chosen = settings()
    try:
        entries = {entry.name: entry for entry in offered(chosen.model)}
    except RequestError as error:
        raise SystemExit(str(error)) from error
    first = next(iter(entries))
    read_ahead(first)
    if zero_gpu():
        import decoding.engines.zero_gpu  # noqa: F401  # before CUDA is touched

    def loader(model: str, report: Report) -> Engine:
        with quick_imports():
            from decoding.engines import local, shared  # here: torch and transformers take seconds to import

        engine = local.load(entries[model], device=chosen.device, dtype=chosen.dtype, report=report)
        if zero_gpu():
            from decoding.engines.zero_gpu import ZeroGpuEngine

            return ZeroGpuEngine(engine)
        crowd = shared.SharedEngine(engine)
        for _ in crowd.steps([crowd.beginning_id or 0], max_new_tokens=1, top_k=1):
            pass  # the first pass is the slowest, and no visitor's
        return crowd

    @cache
    def looking() -> Look:
        from decoding import offers  # here: the page does not wait for the Hub's library

        return offers.looking([*entries.values()], dtype=chosen.dtype)

    shelf = Shelf(loader, [*entries], lambda ready: looking()(ready))
    if zero_gpu():  # a lent GPU's process is a fork of this one, and has the models that are here by then
        wait([shelf.request(name) for name in shelf.names])
    with quick_imports():
        app = _build(shelf, runs=int(chosen.runs), waiting=int(chosen.waiting), seconds=float(chosen.seconds))
        port = int(chosen.port) or free_port(chosen.host)
        options = {"server_name": chosen.host, "server_port": port, "root_path": chosen.root_path or None}
        url = launch(app, metrics=chosen.metrics == "on", prevent_thread_lock=True, **options)
        _log_lines()
    print(f"Greedyscope is at {url}", flush=True)
    shelf.request(first)  # only now: the page answers first
    app.block_thread()


if __name__ == "__main__":
    main()
