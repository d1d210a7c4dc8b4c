"""The page: the only package that imports gradio. It knows neither torch nor tokenizers."""

import gradio as gr

from decoding.page.events import connect
from decoding.page.layout import lay_out
from decoding.shelf import Shelf

__all__ = ["build_page"]


def build_page(shelf: Shelf) -> gr.Blocks:
    """The whole page over a shelf of models, ready to launch."""
    page: gr.Blocks
    with gr.Blocks(title="Greedyscope: greedy decoding, step by step", analytics_enabled=False) as page:
        connect(page, lay_out(shelf), shelf)
    return page
