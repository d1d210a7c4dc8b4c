"""The offer to compute in the visitor's own browser, beside the server's models: `python app.py --browser on`.

Owns its name in the list of models, and what the panel's script is given. Knows no engine;
`decoding/site/page_files.py` makes the files, and `http/browser_routes.py` serves them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decoding.messages import Message

CHOICE = "in this browser"
"""Its value in the list of models. No model has this name, so the server refuses to run it."""
BASE = "in-browser/"
"""Where its files are, from the page."""


@dataclass(frozen=True, slots=True)
class BrowserOffer:
    """The files in a folder, and what a browser has to know of the model."""

    folder: Path
    facts: Mapping[str, Any]

    @property
    def model(self) -> str:
        return str(self.facts["model"]["id"])

    @property
    def label(self) -> Message:
        return Message("offer.in_browser", model=self.model)

    def data(self) -> dict[str, object]:
        """What assets/browser/gradio_page.js is given."""
        return {"choice": CHOICE, "base": BASE, "facts": self.facts}
