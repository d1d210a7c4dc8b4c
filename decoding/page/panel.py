"""The panel as a Gradio component: its files read from assets/, and the script it draws with. Knows no run and no
event.
"""

import gradio as gr

from decoding import assets
from decoding.assets import ASSETS

__all__ = ["ASSETS", "page_css", "panel", "plotly_head", "sentence"]

# Text goes in as text, never as a template or markup: a template that is filled in with a value can be made to run it.
_SENTENCE_HTML = '<p role="{role}"></p>'
_SENTENCE_JS = """
const show = () => { element.querySelector("p").textContent = props.value ?? ""; };
watch("value", show);
show();
"""


def panel(value: str) -> gr.HTML:
    """The panel, fed with the growing JSON Lines of one run."""
    return gr.HTML(
        value,
        html_template=assets.panel_html(),
        js_on_load=f"{assets.panel_script()}\nstartPanel(element, props, watch, trigger);",
        elem_id="panel",
        proof="",
    )


def sentence(name: str, *, role: str, kind: str) -> gr.HTML:
    """A line of plain text that is spoken to screen readers when it changes: role "alert" or "status"."""
    return gr.HTML(
        "", html_template=_SENTENCE_HTML.format(role=role), js_on_load=_SENTENCE_JS, elem_id=name, elem_classes=kind
    )


def page_css() -> str:
    return f"{assets.read('page.css')}\n{assets.panel_css()}"


def plotly_head() -> str:
    """The script tag for the plotly.js that the plotly package ships: a relative address, so that it works under any
    path.
    """
    script = assets.plotly_js()
    gr.set_static_paths([script])  # this one file; never its folder, since everything in it would be public
    return f'<script defer src="gradio_api/file={script.as_posix()}"></script>'
