"""Caches the configuration of components.

Owns nothing else. Gradio computes the configuration of every component again for each visitor, and the panel's for each
message of a run. The result is always the same, and most of the time goes into searching the panel's script for names
that it does not contain: 12 ms of the single event loop per visitor, 24 ms per message. Two hundred visitors at once
kept it busy for seconds.
"""

from abc import ABCMeta
from typing import Any

import gradio as gr


def cache_configs(page: gr.Blocks) -> None:
    """Make every component of a finished page return its current configuration from here on."""
    component: Any
    for component in page.blocks.values():
        if isinstance(component, gr.HTML) and component.js_on_load:
            _cache_missing_names(component)
        known: dict[str, Any] = component.get_config()
        # A copy for each caller: Gradio removes None values from it, and writes each session's value into it.
        component.get_config = known.copy


def _cache_missing_names(component: Any) -> None:
    """Cache which names are no event of a script, also for the components that Gradio makes like this one.

    The properties of its templates are none: Gradio takes one that the script names for an event, and sends it so.
    """
    absent = set(component.props)

    def find(self: Any, name: str) -> Any:
        if name in absent:
            raise AttributeError(name)
        try:
            return gr.HTML.__getattr__(self, name)
        except AttributeError:
            if self.__dict__.get("js_on_load") == component.js_on_load:
                absent.add(name)
            raise

    # Made like Gradio's own metaclass makes a class, but without writing a stub file beside the source.
    component.__class__ = ABCMeta.__new__(type(gr.HTML), "HTML", (gr.HTML,), {"__getattr__": find})
