"""The list of models on the page: what each is, and which cannot be had now.

The list is looked at again whenever somebody opens it, and when a load that the page waited for has ended, so that the
closed list is right too. A model that cannot be had stands in it with the reason, grey;
chosen all the same, Run says why in a sentence, or has it where the reason has passed. Knows no run.
"""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import gradio as gr

from decoding.models.catalogue import CATALOGUE, Entry, describe_models
from decoding.page.layout import Widgets
from decoding.serving.model_registry import ModelRegistry

_OFFER_JS = """(offers) => {
    const { reword } = document.querySelector("#panel .gs");
    const choices = JSON.parse(offers || "[]").map(([label, name]) => [reword(label), name]);
    return choices.length ? { __type__: "update", choices } : { __type__: "update" };
}"""
# The panel may not be there yet; when it is, it words what is marked so.
_FACTS_JS = """(facts) => {
    const slot = document.querySelector("#facts p");
    slot.dataset.sentence = facts;
    slot.textContent = document.querySelector("#panel .gs")?.reword?.(facts) ?? facts;
}"""
_FORGET_JS = """() => {
    const slot = document.querySelector("#problem-model p");
    slot.dataset.sentence = slot.textContent = "";
}"""


def offer_models(page: gr.Blocks, w: Widgets, registry: ModelRegistry) -> None:
    """Keep the list and the line about the chosen model as they are."""

    look_apart = ThreadPoolExecutor(1, "look")  # it asks disk and network, which may take seconds
    under_way: asyncio.Future[str] | None = None

    def offers_now() -> str:
        return json.dumps([(offer.label, offer.name) for offer in registry.offers()])

    async def look() -> str:
        nonlocal under_way
        if under_way is None or under_way.done():  # whoever asks meanwhile is told the same
            under_way = asyncio.get_running_loop().run_in_executor(look_apart, offers_now)
        return await asyncio.shield(under_way)

    offers = gr.Textbox(visible=False)  # in English: the browser words them
    options: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "queue": False}
    for event in (page.load, w.model.focus, w.panel.loaded):
        event(look, None, [offers], **options)
    for event in (offers.change, w.panel.language):
        event(None, [offers], [w.model], js=_OFFER_JS, api_visibility="private")
    # What was said of another model does not stand beside the one that a person chooses now.
    w.model.input(None, None, None, js=_FORGET_JS, api_visibility="private")
    lines = json.dumps(describe_models([CATALOGUE.get(name) or Entry(name) for name in registry.names]))
    for event in (page.load, w.model.change):
        event(None, [w.model], None, js=f"(name) => ({_FACTS_JS})({lines}[name] ?? '')")
