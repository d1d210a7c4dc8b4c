"""Caches the configuration of components.

Owns nothing else. Gradio computes the configuration of every component again for each visitor, twice. The result is
always the same. Two hundred visitors at once kept the single event loop busy for a second and more.
"""

from typing import Any

import gradio as gr


def cache_configs(page: gr.Blocks) -> None:
    """Make every component of a finished page return its current configuration from here on."""
    component: Any
    for component in page.blocks.values():
        known: dict[str, Any] = component.get_config()
        # A copy for each caller: Gradio removes None values from it, and writes each session's value into it.
        component.get_config = known.copy
