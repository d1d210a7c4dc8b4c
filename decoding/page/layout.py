"""The page's layout: its components and their places.

Owns the components. Knows no model and does no work: `events` connects them, and `localize` sets their texts.
"""

import json
from dataclasses import dataclass

import gradio as gr

from decoding import assets
from decoding.page.browser_offer import CHOICE, BrowserOffer
from decoding.page.panel import panel, slot
from decoding.serving.model_registry import ModelRegistry

FIELDS = ("prompt", "steps", "choices", "model", "past_end", "as_message")
"""What a run is asked with, in the order in which browser and server send it."""

PROBLEM_FIELDS = ("prompt", "steps", "choices", "model", "forced")
"""The fields that can have a message beside them; "forced" is the panel's own."""


@dataclass(frozen=True, slots=True)
class Widgets:
    """All components that an event reads or writes."""

    prompt: gr.Textbox
    steps: gr.Number
    choices: gr.Number
    model: gr.Dropdown
    past_end: gr.Checkbox
    as_message: gr.Checkbox
    run: gr.Button
    stop: gr.Button
    panel: gr.HTML
    examples: list[tuple[gr.Button, dict[str, str | int]]]
    recorded: list[tuple[gr.Button, str]]
    labels: dict[str, gr.HTML]
    """Labels without a component of their own, by the last part of their key."""


def build_layout(registry: ModelRegistry, browser: BrowserOffer | None = None) -> Widgets:
    """Create the components inside the open Blocks."""
    first, *others = registry.names
    names: list[str | tuple[str, str]] = [first, *([(browser.label, CHOICE)] if browser else []), *others]
    examples = json.loads(assets.read("examples.json"))
    recorded = {name: assets.read(f"recorded/{name}.jsonl") for name in assets.RECORDED}
    switch = '<div data-languages role="group" data-text-label="page.language"></div>'
    settings = '<button type="button" data-settings aria-expanded="false" data-text-label="page.settings">⚙</button>'
    # One row for all that is asked, one for what to try; then the panel has the screen.
    with gr.Row(equal_height=False, elem_id="bar"):
        gr.HTML('<h1 translate="no">Greedyscope</h1>', elem_id="title")
        prompt = gr.Textbox(examples[0]["prompt"], lines=1, max_lines=8, elem_id="prompt", scale=4, min_width=120)
        run = gr.Button(variant="primary", min_width=64, scale=0, elem_id="run")
        stop = gr.Button(interactive=False, min_width=56, scale=0, elem_id="stop")
        steps = _number("steps", examples[0]["steps"])
        choices = _number("choices", examples[0]["choices"])
        with gr.Column(scale=0, min_width=100, elem_id="switches"):
            past_end = gr.Checkbox(False, container=False, elem_id="past-end")
            as_message = gr.Checkbox(False, container=False, elem_id="as-message")  # only where there is a template
        model = gr.Dropdown(names, value=registry.names[0], min_width=120, scale=1, elem_id="model")
        gr.HTML(f"{settings}{switch}", elem_id="language")
    with gr.Column(elem_id="messages"):  # messages lie over the examples, so that nothing moves
        for field in PROBLEM_FIELDS:
            _problem(field)
        slot("notice", role="status", kind="notice")
    with gr.Row(elem_classes="chips"):
        examples_label = gr.HTML(elem_classes="chips-label")
        example_buttons = [(gr.Button(size="sm", elem_id=f"example-{e['name']}"), e) for e in examples]
        recorded_label = gr.HTML(elem_classes="chips-label")
        recorded_buttons = [(gr.Button(size="sm", elem_classes="recorded"), text) for text in recorded.values()]
    shown = panel(recorded["starter"], registry.names)
    lead = gr.HTML(elem_id="lead")
    slot("facts", role="status", kind="notice")
    return Widgets(
        prompt=prompt,
        steps=steps,
        choices=choices,
        model=model,
        past_end=past_end,
        as_message=as_message,
        run=run,
        stop=stop,
        panel=shown,
        examples=example_buttons,
        recorded=recorded_buttons,
        labels={"lead": lead, "examples": examples_label, "recorded": recorded_label},
    )


def _number(name: str, value: int) -> gr.Number:
    # No minimum and maximum: `requests/run_request.py` checks the number, and says more than "out of range".
    return gr.Number(value, step=1, min_width=64, scale=0, elem_id=name)


def _problem(field: str) -> None:
    slot(f"problem-{field}", role="alert", kind="problem")
