"""The page: the only package that imports gradio. It knows neither torch nor tokenizers."""

from decoding.page.layout import build_page

__all__ = ["build_page"]
