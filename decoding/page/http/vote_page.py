"""The page that students open on their phones: one HTML document, with its script, its style and its texts in it.

Owns what that page may do: its content security policy allows only its own script and style, named by their hashes, and
requests to its own server. It is the same for every code, and 35 phones load it with one small request each. Knows no
session.
"""

import html
import json
import re
from base64 import b64encode
from dataclasses import dataclass
from functools import cache
from hashlib import sha256

from decoding import assets
from decoding.i18n import translate
from decoding.limits import for_browser

_POLICY = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; connect-src 'self'; "
    "img-src data:; script-src {script}; style-src {style}; require-trusted-types-for 'script'; trusted-types 'none'"
)
_TEXTS = (
    "vote.",
    "predict.ask",
    "predict.beyond",
    "predict.right",
    "predict.step",
    "predict.wrong",
    "number.none",
    "language.name",
)


@dataclass(frozen=True, slots=True)
class VotePage:
    content: bytes
    policy: str


@cache
def vote_page() -> VotePage:
    """The page and its content security policy."""
    words = {
        language: {key: text for key, text in texts.items() if key.startswith(_TEXTS)}
        for language, texts in assets.texts().items()
    }
    given = json.dumps({"texts": words, "limits": for_browser(), "examples": []}, ensure_ascii=False)
    script = f"(() => {{\n{assets.vote_script()}\nstartVotePage({given});\n}})();".replace("</", r"<\/")
    parts = {
        "style": assets.read("vote/page.css"),
        "script": script,
        "noscript": html.escape(translate("vote.script")),
    }
    filled = re.sub(r"\{(\w+)\}", lambda place: parts[place[1]], assets.read("vote/page.html"))
    policy = _POLICY.format(script=_csp_hash(script), style=_csp_hash(parts["style"]))
    return VotePage(filled.encode(), policy)


def _csp_hash(text: str) -> str:
    """The hash of a text for a content security policy (CSP level 3, section 2.3.1)."""
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
