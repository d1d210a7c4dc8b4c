"""Localizes the page: which text belongs to which component, in the current language.

Owns that assignment and the event that changes the language. Knows no other event.
"""

import json
from typing import Any

import gradio as gr

from decoding.assets import RECORDED
from decoding.i18n import translate
from decoding.limits import MAX_CHOICES, MAX_STEPS
from decoding.page.layout import Widgets

Word = tuple[gr.blocks.Block, str, str, dict[str, int]]
"""A component, the property that holds its text, the text's key, and the values in it."""


def localize(w: Widgets) -> None:
    """Set the components' texts in English, and change them when the panel reports another language.

    That happens in the browser, so the server does not know who reads which language.
    """
    words = _words(w)
    for component, name, key, values in words:
        setattr(component, name, translate(key, **values))
    named = json.dumps([[name, key, values] for _, name, key, values in words])
    js = f"""() => {{
        const {{ texts: {{ translate }}, limits }} = document.querySelector("#panel .gs");
        const filled = (key, values) => translate(key, {{ ...values, ...limits?.[key] }});
        return {named}.map(([name, key, values]) => ({{ __type__: "update", [name]: filled(key, values) }}));
    }}"""
    components: list[Any] = [component for component, *_ in words]
    w.panel.language(None, None, components, js=js, show_progress="hidden", api_visibility="private")


def _words(w: Widgets) -> list[Word]:
    return [
        (w.prompt, "label", "page.prompt", {}),
        (w.steps, "label", "page.steps", {"most": MAX_STEPS}),
        (w.choices, "label", "page.choices", {"most": MAX_CHOICES}),
        (w.model, "label", "page.model", {}),
        (w.past_end, "label", "page.past_end", {}),
        (w.as_message, "label", "page.as_message", {}),
        (w.run, "value", "page.run", {}),
        (w.stop, "value", "page.stop", {}),
        *((label, "value", f"page.{name}", {}) for name, label in w.labels.items()),
        *((button, "value", f"example.{example['name']}", {}) for button, example in w.examples),
        *((button, "value", f"recorded.{name}", {}) for name, (button, _) in zip(RECORDED, w.recorded, strict=True)),
    ]
