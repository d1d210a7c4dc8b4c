"""The page: the only package that imports gradio. It knows neither torch nor tokenizers."""

import gradio as gr
from starlette.routing import BaseRoute

from decoding.page.events import connect
from decoding.page.health import Health, JsonLines
from decoding.page.layout import lay_out
from decoding.page.line import Line
from decoding.shelf import Shelf

__all__ = ["JsonLines", "Line", "build_page", "health_routes"]


def build_page(shelf: Shelf, line: Line) -> gr.Blocks:
    """The whole page over a shelf of models and the line before it, ready to launch."""
    health = Health(shelf, line)
    page: gr.Blocks
    with gr.Blocks(title="Greedyscope: greedy decoding, step by step", analytics_enabled=False) as page:
        connect(page, lay_out(shelf), shelf, health)
    page.health = health  # type: ignore[attr-defined]  # for `health_routes`
    return page


def health_routes(page: gr.Blocks, *, metrics: bool) -> list[BaseRoute]:
    """The operator's routes for a page of `build_page`."""
    health: Health = page.health  # type: ignore[attr-defined]
    return health.routes(metrics=metrics)
