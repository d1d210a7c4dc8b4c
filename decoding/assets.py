"""Where the panel's files are, and in which order its scripts stand. Knows no run, no page and no server: the page and
the exported file both show the panel that is here.
"""

import json
import re
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from decoding.limits import for_browser

ASSETS = Path(__file__).resolve().parents[1] / "assets"

_SCRIPTS = (
    "texts",
    "surface",
    "limits",
    "sentences",
    "heard",
    "classroom",
    "language",
    "run",
    "runs",
    "text",
    "bars",
    "strip",
    "table",
    "questions",
    "examples",
    "math",
    "temperature",
    "predict",
    "tour",
    "parts",
    "head",
    "panel",
    "controls",
)
_STYLES = ("panel", "lesson", "classroom")
_PAGE_SCRIPTS = ("sides", "verdict", "compare", "kept", "links", "fields", "silence", "picture", "keep", "onpage")
"""What only the page needs: a file has no server to ask."""
_PAGE_TEXTS = (
    *(
        "example.",
        "recorded.",
        "keep.",
        "csv.",
        "copy.",
        "compare.",
        "old.",
        "prompt.",
        "models.",
        "verdict.",
        "runs.",
        "server.",
    ),
    *(f"whatif.{name}." for name in ("own", "beam", "score", "beside", "proof")),
    *("state.waiting", "state.silent"),
    *(f"page.{name}" for name in ("choices", "examples", "lead", "model", "prompt", "recorded", "run", "st", "title")),
)
_RUN_TEXTS = (
    *("server.why", "server.kind", "server.note", "server.model.nan", "server.memory", "server.run", "server.stored"),
    *("server.engine.", "server.pick.late"),
    *(f"server.tokenizer.{name}" for name in ("begins_twice", "behind", "changes")),
)
"""Of the server's sentences, those that a run itself can hold."""


def read(name: str) -> str:
    """The text of a file of assets/."""
    return (ASSETS / name).read_text("utf-8")


def panel_html(*, page: bool) -> str:
    """The panel's elements; a file does without those that need a server."""
    whole = re.sub(r"<!-- (\w+\.html) -->", lambda place: read(f"panel/{place[1]}").strip(), read("panel/panel.html"))
    return whole if page else re.sub(r"<!-- on the page -->.*?<!-- everywhere -->", "", whole, flags=re.DOTALL)


def panel_css() -> str:
    return "\n".join(read(f"panel/{name}.css") for name in _STYLES)


@cache
def texts() -> Mapping[str, Mapping[str, str]]:
    """What people read, by language and key: every file of assets/texts/, English first."""
    files = sorted((ASSETS / "texts").glob("*.json"), key=lambda file: (file.stem != "en", file.stem))
    return {file.stem: json.loads(file.read_text("utf-8")) for file in files}


def texts_json(*, page: bool, prompt: str = "") -> str:
    """All texts for a script, or those that a file of a run of this prompt has a use for."""
    points = {f"point.{each['name']}" for each in _examples(prompt)}
    said = {
        language: {
            key: text
            for key, text in words.items()
            if page or key in points or key.startswith(_RUN_TEXTS) or not key.startswith((*_PAGE_TEXTS, "point."))
        }
        for language, words in texts().items()
    }
    return json.dumps(said, ensure_ascii=False, separators=(",", ":"))


def _examples(prompt: str | None) -> list[dict[str, str | int]]:
    """The examples of a prompt, or all of them, as the panel knows them."""
    known = [{name: each[name] for name in ("name", "prompt", "steps")} for each in json.loads(read("examples.json"))]
    return [each for each in known if prompt in (None, each["prompt"])]


def panel_script(prompt: str | None = None) -> str:
    """The panel's scripts as one; `startPanel(element, props, watch, trigger)` begins it, where `TEXTS` is known. No
    script of these names anything that the page's own scripts define: a file has to do without. A file of a run knows
    the examples of its `prompt` alone.
    """
    told = [f"const EXAMPLES = {json.dumps(_examples(prompt))};", f"const LIMITS = {json.dumps(for_browser())};"]
    return "\n".join([*told, *(read(f"panel/{name}.js") for name in _SCRIPTS)])


def page_script() -> str:
    """The same for the page, which can also keep a run."""
    scripts = [panel_script(), *(read(f"panel/{name}.js") for name in _PAGE_SCRIPTS)]
    return "\n".join([f"const TEXTS = {texts_json(page=True)};", *scripts])


def plotly_js() -> Path:
    """The plotly.js that the plotly package ships; nothing of the package is imported for it."""
    spec = find_spec("plotly")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("plotly is not installed; requirements.txt names it")
    return Path(spec.origin).parent / "package_data" / "plotly.min.js"
