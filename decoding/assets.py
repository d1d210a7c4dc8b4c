"""Where the panel's files are, and in which order its scripts stand. Knows no run, no page and no server: the page and
the exported file both show the panel that is here.
"""

from importlib.util import find_spec
from pathlib import Path

ASSETS = Path(__file__).resolve().parents[1] / "assets"

_SCRIPTS = (
    "run",
    "runs",
    "text",
    "bars",
    "strip",
    "table",
    "questions",
    "sides",
    "compare",
    "links",
    "panel",
    "controls",
)
_PAGE_SCRIPTS = ("picture", "keep")
"""What only the page needs: a file has no server to ask."""


def read(name: str) -> str:
    """The text of a file of assets/."""
    return (ASSETS / name).read_text("utf-8")


def panel_html() -> str:
    return read("panel/panel.html")


def panel_css() -> str:
    return read("panel/panel.css")


def panel_script() -> str:
    """The panel's scripts as one; `startPanel(element, props, watch, trigger)` begins it."""
    return "\n".join(read(f"panel/{name}.js") for name in _SCRIPTS)


def page_script() -> str:
    """The same for the page, which can also keep a run."""
    return "\n".join([panel_script(), *(read(f"panel/{name}.js") for name in _PAGE_SCRIPTS)])


def plotly_js() -> Path:
    """The plotly.js that the plotly package ships; nothing of the package is imported for it."""
    spec = find_spec("plotly")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("plotly is not installed; requirements.txt names it")
    return Path(spec.origin).parent / "package_data" / "plotly.min.js"
