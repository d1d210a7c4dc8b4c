"""The page: the only package that imports gradio. It knows neither torch nor tokenizers."""

import gradio as gr
from starlette.routing import BaseRoute

from decoding.i18n import translate
from decoding.page.api import add_endpoints
from decoding.page.browser_offer import BrowserOffer
from decoding.page.events import connect
from decoding.page.gradio_compat.config_cache import cache_configs
from decoding.page.http.metrics import Health, JsonLines, log_lines
from decoding.page.layout import build_layout
from decoding.page.localize import localize
from decoding.serving.admission import AdmissionQueue
from decoding.serving.model_registry import ModelRegistry

__all__ = ["AdmissionQueue", "BrowserOffer", "JsonLines", "build_page", "health_routes", "log_lines"]


def build_page(registry: ModelRegistry, queue: AdmissionQueue, browser: BrowserOffer | None = None) -> gr.Blocks:
    """Build the page over a model registry and an admission queue, ready to launch. With `browser`, it offers to
    compute in the visitor's browser.
    """
    health = Health(registry, queue)
    page: gr.Blocks
    with gr.Blocks(title=translate("page.title"), analytics_enabled=False) as page:
        widgets = build_layout(registry, browser)
        connect(page, widgets, registry, health, browser)
        localize(widgets)
        add_endpoints(page, registry, health)
    cache_configs(page)
    page.health = health  # type: ignore[attr-defined]  # for `health_routes`
    page.browser = browser  # type: ignore[attr-defined]  # for `launch`
    return page


def health_routes(page: gr.Blocks, *, metrics: bool) -> list[BaseRoute]:
    """The operator's routes for a page of `build_page`."""
    health: Health = page.health  # type: ignore[attr-defined]
    return health.routes(metrics=metrics)
