"""The page's layout: its components and their places.

Owns the components. Knows no model and does no work: `events` connects them, and `localize` sets their texts.
"""

import json
from dataclasses import dataclass

import gradio as gr

from decoding.page.panel import ASSETS, panel, slot
from decoding.serving.model_registry import ModelRegistry

RECORDED = ("starter", "gpt2_xl_notebook_table")

PROBLEM_FIELDS = ("prompt", "steps", "choices", "model", "forced")
"""The fields that can have a message beside them; "forced" is the panel's own."""


@dataclass(frozen=True, slots=True)
class Widgets:
    """All components that an event reads or writes."""

    prompt: gr.Textbox
    steps: gr.Number
    choices: gr.Number
    model: gr.Dropdown
    run: gr.Button
    stop: gr.Button
    panel: gr.HTML
    examples: list[tuple[gr.Button, dict[str, str | int]]]
    recorded: list[tuple[gr.Button, str]]
    labels: dict[str, gr.HTML]
    """Labels without a component of their own, by the last part of their key."""


def build_layout(registry: ModelRegistry) -> Widgets:
    """Create the components inside the open Blocks."""
    examples = json.loads((ASSETS / "examples.json").read_text("utf-8"))
    recorded = {name: (ASSETS / "recorded" / f"{name}.jsonl").read_text("utf-8") for name in RECORDED}
    switch = '<div data-languages role="group" data-text-label="page.language"></div>'
    gr.HTML(f'<h1 translate="no">Greedyscope</h1>{switch}', elem_id="title")
    lead = gr.HTML(elem_id="lead")
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=280):
            prompt = gr.Textbox(examples[0]["prompt"], lines=3, max_lines=8, elem_id="prompt")
            _problem("prompt")
        with gr.Column(scale=4, min_width=280):
            with gr.Row():
                steps = _number("steps", examples[0]["steps"])
                choices = _number("choices", examples[0]["choices"])
                model = gr.Dropdown(
                    list(registry.names), value=registry.names[0], min_width=240, scale=2, elem_id="model"
                )
            for field in ("steps", "choices", "model"):
                _problem(field)
            slot("facts", role="status", kind="notice")
            with gr.Row():
                run = gr.Button(variant="primary", min_width=100, elem_id="run")
                stop = gr.Button(interactive=False, min_width=100, elem_id="stop")
            slot("notice", role="status", kind="notice")
    with gr.Row(elem_classes="chips"):
        examples_label = gr.HTML(elem_classes="chips-label")
        example_buttons = [(gr.Button(size="sm", elem_id=f"example-{e['name']}"), e) for e in examples]
    with gr.Row(elem_classes=["chips", "recorded"]):
        recorded_label = gr.HTML(elem_classes="chips-label")
        recorded_buttons = [(gr.Button(size="sm"), text) for text in recorded.values()]
    _problem("forced")
    return Widgets(
        prompt=prompt,
        steps=steps,
        choices=choices,
        model=model,
        run=run,
        stop=stop,
        panel=panel(recorded["starter"], registry.names),
        examples=example_buttons,
        recorded=recorded_buttons,
        labels={"lead": lead, "examples": examples_label, "recorded": recorded_label},
    )


def _number(name: str, value: int) -> gr.Number:
    # No minimum and maximum: `decoding.request` checks the number, and its message says more than "out of range".
    return gr.Number(value, step=1, min_width=90, elem_id=name)


def _problem(field: str) -> None:
    slot(f"problem-{field}", role="alert", kind="problem")
