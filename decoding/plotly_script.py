"""plotly.js, of the plotly package: where it is, and what the policy of a page that loads it has to allow.

A page whose policy forbids that a script turns text into markup cannot load it: plotly.js does so.
"""

import re
from importlib.util import find_spec
from pathlib import Path

from decoding.assets import csp_hash

_LABELS = ("font-weight:bold", "font-style:italic", "font-size:.8em")
STYLES = csp_hash("")
"""For `style-src`: an empty element, to which plotly.js adds its rules by script."""
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


def reserved_style_ids(library: str) -> str:
    """Elements with the ids of plotly.js's style sheet for maps, so that it does not add that sheet, which the policy
    would report as an error.
    """
    ids = sorted(set(re.findall(r'getElementById\("([0-9a-f]{64})"\)', library)))
    return "".join(f'<template id="{name}"></template>\n' for name in ids)
