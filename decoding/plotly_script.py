"""plotly.js, of the plotly package: where it is, and what the policy of a page that loads it has to allow.

plotly.js assigns innerHTML, so a page whose policy requires Trusted Types cannot load it.
"""

from importlib.util import find_spec
from pathlib import Path

from decoding.assets import csp_hash

_LABELS = ("font-weight:bold", "font-style:italic", "font-size:.8em")
EMPTY_STYLE_ELEMENT = csp_hash("")
"""For `style-src`: plotly.js adds its rules to it by script."""
STYLE_ATTRIBUTES = f"'unsafe-hashes' {' '.join(map(csp_hash, _LABELS))}"
"""For `style-src-attr`: those that plotly.js writes for the panel's labels, its b, i and span elements."""
IMAGES = "data:"
"""For `img-src`: a heat map is an image that plotly.js makes."""


def plotly_js() -> Path:
    """Its path, found without importing the package. Raises ModuleNotFoundError if that is not installed."""
    spec = find_spec("plotly")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("plotly is not installed; requirements.txt names it")
    return Path(spec.origin).parent / "package_data" / "plotly.min.js"
