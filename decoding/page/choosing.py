"""The list of models on the page: what each is, and which cannot be had now.

The list is looked at again whenever somebody opens it. A model that cannot be had stands in it with the reason, grey;
chosen all the same, Run says why in a sentence, or has it where the reason has passed. Knows no run.
"""

import json
from typing import Any

import gradio as gr

from decoding.catalogue import CATALOGUE, Entry, facts
from decoding.page.layout import Widgets
from decoding.shelf import Shelf


def offer_models(page: gr.Blocks, w: Widgets, shelf: Shelf) -> None:
    """Keep the list and the line about the chosen model as they are."""

    def look() -> Any:
        return gr.update(choices=[(offer.label, offer.name) for offer in shelf.offers()])

    options: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "queue": False}
    page.load(look, None, [w.model], **options)
    w.model.focus(look, None, [w.model], **options)
    lines = json.dumps(facts([CATALOGUE.get(name) or Entry(name) for name in shelf.names]))
    show = f'(name) => {{ document.querySelector("#facts p").textContent = {lines}[name] ?? ""; }}'
    for event in (page.load, w.model.change):
        event(None, [w.model], None, js=show)
