"""The model picker: the list of models, which are unavailable, and which have a chat template.

Owns the switch "as a message", and when the list is refreshed: whenever somebody opens it, and when a load that the
page waited for has ended. An unavailable model is listed in grey with the reason. If it is chosen anyway, Run gives the
reason in a sentence, or loads it if the reason has passed. Knows no run.
"""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import gradio as gr

from decoding.messages import MessageJson, to_json
from decoding.models.catalogue import CATALOGUE, Entry, describe_models, describe_served
from decoding.page.browser_offer import CHOICE, BrowserOffer
from decoding.page.layout import Widgets
from decoding.serving.model_registry import ModelOffer, ModelRegistry

_OFFER_JS = """(offers) => {
    const { sentenceOf } = document.querySelector("#panel .gs");
    const choices = JSON.parse(offers || "[]").map(({ label, name }) => [sentenceOf(label), name]);
    return choices.length ? { __type__: "update", choices } : { __type__: "update" };
}"""
# The switch for a message is there only where the model has a template, and off where it is not there.
_CHAT_JS = """(offers, model, isOn) => {
    const offer = JSON.parse(offers || "[]").find(({ name }) => name === model);
    document.querySelector("#bar").classList.toggle("has-chat", Boolean(offer?.has_chat_template));
    return offer && !offer.has_chat_template ? false : isOn;
}"""
# The panel may not exist yet; later it translates elements with this attribute.
_FACTS_JS = """(facts) => {
    const slot = document.querySelector("#facts p");
    if (slot.dataset.sentence === JSON.stringify(facts)) return;
    slot.dataset.sentence = JSON.stringify(facts);
    slot.textContent = document.querySelector("#panel .gs")?.sentenceOf?.(facts) ?? "";
}"""
_CLEAR_PROBLEMS_JS = '() => document.querySelector("#panel .gs")?.clearProblems()'


def connect_model_picker(
    page: gr.Blocks, w: Widgets, registry: ModelRegistry, browser: BrowserOffer | None = None
) -> None:
    """Keep the list and the facts of the chosen model up to date."""

    entries = [CATALOGUE.get(name) or Entry(name) for name in registry.names]

    def facts_now() -> dict[str, list[MessageJson]]:
        """The facts of each model. A vLLM server decides the context, which is known once it was asked."""
        facts = here = describe_models(entries)
        if registry.is_remote:
            lengths = {engine.info.id: engine.context_length for engine in registry.loaded()}
            facts = {entry.name: describe_served(entry, lengths.get(entry.name)) for entry in entries}
        if browser:
            facts = facts | {CHOICE: here.get(browser.model, [])}
        return {name: [to_json(fact) for fact in parts] for name, parts in facts.items()}

    executor = ThreadPoolExecutor(1, "look")  # reading disk and network may take seconds
    listing: asyncio.Future[str] | None = None

    def offers_now() -> str:
        first, *others = registry.offers()
        offers = [first, *([ModelOffer(CHOICE, browser.label)] if browser else []), *others]
        facts = facts_now()
        return json.dumps(
            [
                {
                    "label": to_json(offer.label),
                    "name": offer.name,
                    "has_chat_template": offer.has_chat_template,
                    "facts": facts.get(offer.name),
                }
                for offer in offers
            ]
        )

    async def list_offers() -> str:
        nonlocal listing
        if listing is None or listing.done():  # concurrent callers share one answer
            listing = asyncio.get_running_loop().run_in_executor(executor, offers_now)
        return await asyncio.shield(listing)

    offers = gr.Textbox(visible=False)  # the browser makes the labels in the reader's language
    options: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "queue": False}
    for event in (page.load, w.model.focus, w.panel.loaded):
        event(list_offers, None, [offers], **options)
    for event in (offers.change, w.model.change):
        event(None, [offers, w.model, w.as_message], [w.as_message], js=_CHAT_JS, api_visibility="private")
    for event in (offers.change, w.panel.language):
        event(None, [offers], [w.model], js=_OFFER_JS, api_visibility="private")
    # What was said of the previous model goes; the panel hears of all other fields itself.
    w.model.input(None, None, None, js=_CLEAR_PROBLEMS_JS, api_visibility="private")
    before = json.dumps(facts_now())  # until the list was read, which takes a while
    listed = "JSON.parse(offers || '[]').find((offer) => offer.name === name)?.facts"
    for event in (page.load, w.model.change, offers.change):
        js = f"(offers, name) => ({_FACTS_JS})({listed} ?? {before}[name] ?? [])"
        event(None, [offers, w.model], None, js=js, api_visibility="private")
