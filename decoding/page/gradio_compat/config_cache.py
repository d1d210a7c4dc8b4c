"""What Gradio asks each component for, remembered.

Owns nothing but this: Gradio works out the configuration of every component again for each visitor, and the panel's for
each word beside a run. That is always the same, and most of it a search through the panel's script for names that are
not there: 12 ms of the server's one event loop for a visitor, 24 for a word. Two hundred who came at once kept it busy
for seconds.
"""

from abc import ABCMeta
from typing import Any

import gradio as gr


def remember(page: gr.Blocks) -> None:
    """Have every component of a page that is laid out and connected answer from here on as it does now."""
    component: Any
    for component in page.blocks.values():
        if isinstance(component, gr.HTML) and component.js_on_load:
            _know_names(component)
        known: dict[str, Any] = component.get_config()
        # A copy for each who asks: Gradio takes what is None out of it, and writes each session's value into it.
        component.get_config = known.copy


def _know_names(component: Any) -> None:
    """Have what a script does not name searched for once: also by the components that Gradio makes like this one."""
    absent: set[str] = set()

    def find(self: Any, name: str) -> Any:
        if name in absent:
            raise AttributeError(name)
        try:
            return gr.HTML.__getattr__(self, name)
        except AttributeError:
            if self.__dict__.get("js_on_load") == component.js_on_load:
                absent.add(name)
            raise

    # As Gradio's own metaclass makes a class, but for the stub file that it writes beside the source.
    component.__class__ = ABCMeta.__new__(type(gr.HTML), "HTML", (gr.HTML,), {"__getattr__": find})
