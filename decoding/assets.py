"""The panel's files: where they are, and what each surface loads.

Owns the entry of each surface and the data that its scripts are given. Knows no run, no page and no server.
"""

import json
import re
from base64 import b64encode
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path

from decoding.limits import for_browser
from decoding.script_bundle import bundle

ASSETS = Path(__file__).resolve().parents[1] / "assets"

_STYLES = ("panel", "sampling", "lesson", "why", "classroom", "forced_colours_and_print")
_PAGE_TEXTS = (
    *(
        "example.",
        "recorded.",
        "keep.",
        "csv.",
        "copy.",
        "compare.",
        "old.",
        "forked.",
        "forks.",
        "tree.",
        "prompt.",
        "models.",
        "verdict.",
        "draws.",
        "named.",
        "runs.",
        "server.",
        "vote.",
        "download.",
    ),
    *(f"whatif.{name}." for name in ("own", "beam", "score", "beside", "proof", "draw", "named", "past_end")),
    *("site.", "head.copy.none", "page.as_message", "page.past_end"),
    *("state.waiting", "state.silent", "state.elsewhere", "tabs.tree", "why.ask", "why.open", "table.change."),
    *(f"why.without.{name}" for name in ("again", "anew", "growing", "growth", "nothing")),
    "why.lesson.try",
    *(
        f"page.{name}"
        for name in (
            "choices",
            "examples",
            "lead",
            "model",
            "prompt",
            "recorded",
            "run",
            "script",
            "settings",
            "st",
            "title",
        )
    ),
)
_RECORD_TEXTS = (
    *("server.why.", "server.kind", "server.note", "server.model.nan", "server.memory", "server.run", "server.stored"),
    *("server.engine.", "server.pick.late", "server.draw.left", "server.line.ended", "server.gpu", "server.browser."),
    *("server.tokenizer.be", "server.tokenizer.changes"),  # begins_twice, behind
)
"""How the keys of the texts begin whose sentences a record can hold: assets/panel/core/record_sentences.js."""

RECORDED = ("starter", "gpt2_xl_notebook_table")
"""The recorded runs that can be opened, as their files are named."""


def read(name: str) -> str:
    """The text of a file of assets/."""
    return (ASSETS / name).read_text("utf-8")


def filled(name: str, parts: Mapping[str, str]) -> str:
    """The text of a file with its places, such as "{title}", filled in at once: nothing that is filled in is taken for
    a place. A place is a word of small letters. Raises KeyError for a place that no part fills.
    """
    return re.sub(r"\{([a-z]+)\}", lambda place: parts[place[1]], read(name))


def panel_html(*, page: bool) -> str:
    """The panel's HTML. An exported file (`page=False`) omits the elements that need a server."""
    whole = re.sub(r"<!-- (\w+\.html) -->", lambda place: read(f"panel/{place[1]}").strip(), read("panel/panel.html"))
    return whole if page else re.sub(r"<!-- on the page -->.*?<!-- everywhere -->", "", whole, flags=re.DOTALL)


def panel_css() -> str:
    """The panel's own rules, without those of the page around it (root.css), which Gradio would put a prefix before."""
    return "\n".join(read(f"panel/{name}.css") for name in _STYLES)


@cache
def texts() -> Mapping[str, Mapping[str, str]]:
    """All texts by language and key, from assets/texts/, English first."""
    files = sorted((ASSETS / "texts").glob("*.json"), key=lambda file: (file.stem != "en", file.stem))
    return {file.stem: json.loads(file.read_text("utf-8")) for file in files}


def texts_json(*, page: bool, prompt: str = "") -> str:
    """All texts as JSON for a script, or only those that an exported file of a run of `prompt` needs."""
    points = {f"point.{each['name']}" for each in _examples(prompt)}
    data = {
        language: {
            key: text
            for key, text in words.items()
            if page
            or key in points
            or f"{key}.".startswith(_RECORD_TEXTS)
            or not key.startswith((*_PAGE_TEXTS, "point."))
        }
        for language, words in texts().items()
    }
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


def _examples(prompt: str | None) -> list[dict[str, str | int]]:
    """The examples of `prompt`, or all of them, for the panel."""
    known = [{name: each[name] for name in ("name", "prompt", "steps")} for each in json.loads(read("examples.json"))]
    return [each for each in known if prompt in (None, each["prompt"])]


def data_for(prompt: str | None = None) -> dict[str, object]:
    """What every surface's script is given beside the texts: the limits, the examples or those of one prompt, and which
    texts a record can hold.
    """
    return {"limits": for_browser(), "examples": _examples(prompt), "recordTexts": _RECORD_TEXTS}


def page_script() -> str:
    """The page's script, which defines `startPage(element, props, watch, trigger, data)`."""
    return bundle(ASSETS / "panel/app/page.js")


def page_script_with_engine() -> str:
    """The same, where the page offers to compute in the visitor's browser."""
    return bundle(ASSETS / "browser/gradio_page.js")


def page_data(**more: object) -> str:
    """What `startPage` is given, as JSON."""
    data = json.dumps(data_for() | more, ensure_ascii=False, separators=(",", ":"))
    return f'{{"texts":{texts_json(page=True)},{data[1:]}'


def file_script() -> str:
    """The script of an exported file, which defines `startFile(packed, data)`: nothing in it needs a server."""
    return bundle(ASSETS / "standalone/page.js")


def plotly_file_script() -> str:
    """The same for a file that has plotly.js, which defines `startFileWithPlotly(packed, data)`."""
    return bundle(ASSETS / "standalone/plotly_page.js")


def site_script() -> str:
    """The static site's script, which defines `startSite(data)`."""
    return bundle(ASSETS / "browser/site_page.js")


def vote_script() -> str:
    """The script of the page that students vote on, which defines `startVotePage(data)`."""
    return bundle(ASSETS / "vote/page.js")


def escape_script_end(script: str) -> str:
    """A script that cannot end its own element. In strings and patterns, the escape means the same."""
    return re.sub(r"<(?=/script|!--)", r"\\x3c", script, flags=re.IGNORECASE)


def csp_hash(text: str) -> str:
    """The hash of a script or style for a content security policy (CSP level 3, section 2.3.1)."""
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
