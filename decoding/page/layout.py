"""The page's components and where they stand. Knows no model and does no work: `events` gives them life."""

import json
from dataclasses import dataclass

import gradio as gr

from decoding.page.panel import ASSETS, panel, slot
from decoding.run import MAX_CHOICES, MAX_STEPS
from decoding.shelf import Shelf

RECORDED = {"starter": "starter", "gpt2_xl_notebook_table": "gpt2-xl, the notebook's table"}


PROBLEMS = ("prompt", "steps", "choices", "model", "forced")
"""The fields beside which a sentence can stand; "forced" is the panel's own."""


@dataclass(frozen=True, slots=True)
class Widgets:
    """Everything on the page that an event reads or writes."""

    prompt: gr.Textbox
    steps: gr.Number
    choices: gr.Number
    model: gr.Dropdown
    run: gr.Button
    stop: gr.Button
    panel: gr.HTML
    examples: list[tuple[gr.Button, dict[str, str | int]]]
    recorded: list[tuple[gr.Button, str]]


def lay_out(shelf: Shelf) -> Widgets:
    """The components, made inside the Blocks that is open."""
    examples = json.loads((ASSETS / "examples.json").read_text("utf-8"))
    recorded = {name: (ASSETS / "recorded" / f"{name}.jsonl").read_text("utf-8") for name in RECORDED}
    gr.HTML(
        "<h1>Greedyscope</h1><p>A language model writes by taking, at every step, its most probable next token. "
        "Watch it choose.</p>",
        elem_id="title",
    )
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=280):
            prompt = gr.Textbox(examples[0]["prompt"], label="Prompt", lines=3, max_lines=8, elem_id="prompt")
            _problem("prompt")
        with gr.Column(scale=4, min_width=280):
            with gr.Row():
                steps = _number("Steps", examples[0]["steps"], MAX_STEPS)
                choices = _number("Choices", examples[0]["choices"], MAX_CHOICES)
                model = gr.Dropdown(
                    list(shelf.names), value=shelf.names[0], label="Model", min_width=240, scale=2, elem_id="model"
                )
            for field in ("steps", "choices", "model"):
                _problem(field)
            slot("facts", role="status", kind="notice")
            with gr.Row():
                run = gr.Button("Run", variant="primary", min_width=100, elem_id="run")
                stop = gr.Button("Stop", interactive=False, min_width=100, elem_id="stop")
            slot("notice", role="status", kind="notice")
    with gr.Row(elem_classes="chips"):
        gr.HTML("Examples:", elem_classes="chips-label")
        example_buttons = [(gr.Button(e["label"], size="sm"), e) for e in examples]
    with gr.Row(elem_classes="chips"):
        gr.HTML("Recorded runs:", elem_classes="chips-label")
        recorded_buttons = [(gr.Button(RECORDED[name], size="sm"), text) for name, text in recorded.items()]
    _problem("forced")
    return Widgets(
        prompt=prompt,
        steps=steps,
        choices=choices,
        model=model,
        run=run,
        stop=stop,
        panel=panel(recorded["starter"], shelf.names),
        examples=example_buttons,
        recorded=recorded_buttons,
    )


def _number(label: str, value: int, most: int) -> gr.Number:
    # No minimum and maximum here: the request is checked in one place, which says more than "out of range".
    return gr.Number(value, label=f"{label} (1–{most})", step=1, min_width=90, elem_id=label.lower())


def _problem(field: str) -> None:
    slot(f"problem-{field}", role="alert", kind="problem")
