"""The page: the only package that imports gradio. It knows neither torch nor tokenizers."""

import gradio as gr

from decoding.page.events import connect
from decoding.page.layout import lay_out
from decoding.page.line import Line
from decoding.shelf import Shelf

__all__ = ["Line", "build_page"]


def build_page(shelf: Shelf, line: Line) -> gr.Blocks:
    """The whole page over a shelf of models and the line before it, ready to launch."""
    page: gr.Blocks
    with gr.Blocks(title="Greedyscope: greedy decoding, step by step", analytics_enabled=False) as page:
        connect(page, lay_out(shelf), shelf, line)
    return page
