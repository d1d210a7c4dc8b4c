"""The panel as a Gradio component: its files read from assets/, and the script it draws with. Knows no run and no
event.
"""

from pathlib import Path

import gradio as gr
import plotly

ASSETS = Path(__file__).resolve().parents[2] / "assets"
PLOTLY_JS = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"

_SCRIPTS = ("run", "text", "bars", "strip", "table", "panel", "controls")

# Text goes in as text, never as a template or markup: a template that is filled in with a value can be made to run it.
_SENTENCE_HTML = '<p role="{role}"></p>'
_SENTENCE_JS = """
const show = () => { element.querySelector("p").textContent = props.value ?? ""; };
watch("value", show);
show();
"""


def panel(value: str) -> gr.HTML:
    """The panel, fed with the growing JSON Lines of one run."""
    folder = ASSETS / "panel"
    scripts = "\n".join((folder / f"{name}.js").read_text("utf-8") for name in _SCRIPTS)
    return gr.HTML(
        value,
        html_template=(folder / "panel.html").read_text("utf-8"),
        js_on_load=f"{scripts}\nstartPanel(element, props, watch);",
        elem_id="panel",
    )


def sentence(name: str, *, role: str, kind: str) -> gr.HTML:
    """A line of plain text that is spoken to screen readers when it changes: role "alert" or "status"."""
    return gr.HTML(
        "", html_template=_SENTENCE_HTML.format(role=role), js_on_load=_SENTENCE_JS, elem_id=name, elem_classes=kind
    )


def page_css() -> str:
    return "\n".join((ASSETS / name).read_text("utf-8") for name in ("page.css", "panel/panel.css"))


def plotly_head() -> str:
    """The script tag for the plotly.js that the plotly package ships: a relative address, so that it works under any
    path.
    """
    gr.set_static_paths([PLOTLY_JS])  # this one file; never its folder, since everything in it would be public
    return f'<script defer src="gradio_api/file={PLOTLY_JS.as_posix()}"></script>'
