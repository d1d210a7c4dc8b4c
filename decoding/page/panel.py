"""The panel as a Gradio component: its files from assets/, and the script that draws it.

Owns that component, and the page's style sheet and head. Knows no run and no event.
"""

import json
from collections.abc import Sequence

import gradio as gr

from decoding import assets, plotly_script
from decoding.page.browser_offer import BrowserOffer

__all__ = ["page_css", "page_head", "page_theme", "panel", "slot"]


# Keeps browsers from turning token ids into telephone numbers.
_PLAIN = '<meta name="format-detection" content="telephone=no, date=no, address=no, email=no">'
_FRAMED = """<script>
if (new URLSearchParams(location.search).get("embed") === "1") document.documentElement.classList.add("embedded");
</script>"""


# The reader's own fonts. Gradio's file of semi-bold letters holds four, so that a word would be in two fonts.
_SANS = (
    "-apple-system",
    "Segoe UI",
    "Roboto",
    "Noto Sans",
    "Liberation Sans",
    "Apple SD Gothic Neo",
    "Malgun Gothic",
    "Noto Sans KR",
    "Noto Sans CJK KR",
    "sans-serif",
)
_MONO = ("SF Mono", "Consolas", "DejaVu Sans Mono", "monospace")


def page_theme() -> gr.themes.Base:
    """Gradio's theme in the reader's own fonts; its own blue is too light for white letters."""
    sans, mono = ([gr.themes.Font(name) for name in names] for names in (_SANS, _MONO))
    return gr.themes.Default(primary_hue="blue", neutral_hue="slate", font=sans, font_mono=mono).set(
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover_dark="*primary_700",
    )


EVENTS = (
    *("branch", "link", "score", "beam", "prompt", "agree", "draw", "named", "why"),
    *("follow", "language", "loaded", "begun", "computing"),
)
"""What the panel tells Gradio of. Gradio takes a name for an event if `js_on_load` has it between quotes."""


def panel(value: str, models: Sequence[str]) -> gr.HTML:
    """The panel, fed with the JSON Lines of one run. `models` are those that can be compared.

    At each update Gradio goes through what a component has, in the browser and here: it compiles the template, copies
    all properties, and searches `js_on_load` for names of events. So the panel's HTML and script come apart from it.
    """
    return gr.HTML(
        value,
        html_template="",
        js_on_load=f"startGreedyscope(element, props, watch, trigger); // {json.dumps(EVENTS)}",
        elem_id="panel",
        words="",
        begun_number="",
        models=json.dumps(list(models)),
    )


def page_scripts(browser: BrowserOffer | None = None) -> dict[str, bytes]:
    """The page's large scripts by name: the panel's own, which has to be there before Gradio draws the panel, and
    plotly.js from the plotly package, for which nothing waits.
    """
    script = assets.page_script_with_engine() if browser else assets.page_script()
    data = assets.page_data(browser=browser.data()) if browser else assets.page_data()
    download = assets.read("browser/download.html") if browser else ""
    html = json.dumps(download + assets.panel_html(page=True) + assets.read("panel/vote.html"))
    code = f"""window.startGreedyscope = (element, ...given) => {{
        element.innerHTML = {html};
        {script}
        startPage(element, ...given, {data});
    }};"""
    return {"panel": code.encode(), "plotly": plotly_script.plotly_js().read_bytes()}


def slot(name: str, *, role: str, kind: str) -> gr.HTML:
    """A line of plain text, spoken to screen readers when it changes; `role` is "alert" or "status".

    The panel writes the text: a component of its own for each would cost half a millisecond per step.
    """
    return gr.HTML(f'<p role="{role}"></p>', elem_id=name, elem_classes=kind)


def page_css(*, browser: bool = False) -> str:
    names = (
        "panel/on_page.css",
        "panel/lens_picture.css",
        "panel/vote.css",
        *(("browser/gradio_page.css",) if browser else ()),
    )
    return "\n".join([assets.read("page.css"), assets.panel_css(), *map(assets.read, names)])


def page_head() -> str:
    """What Gradio adds to the page's head: whether it is in a frame, known before anything is drawn; and the script
    that outlives its server.
    """
    outliving = f"<script>{assets.read('lost_connection.js')}</script>"
    root = f"<style>{assets.read('panel/root.css')}{assets.read('embedded.css')}</style>"
    return f"{_PLAIN}{_FRAMED}{root}{outliving}"
