"""The page that students open on their phones: one HTML document, with its script, its style and its texts in it.

Owns what that page may do: its content security policy allows only its own script and style, named by their hashes, and
requests to its own server. It is the same for every code, and 35 phones load it with one small request each. Knows no
session.
"""

import html
import json
from dataclasses import dataclass
from functools import cache

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
    script = assets.escape_script_end(f"(() => {{\n{assets.vote_script()}\nstartVotePage({given});\n}})();")
    parts = {
        "style": assets.read("vote/page.css"),
        "script": script,
        "noscript": html.escape(translate("vote.script")),
    }
    policy = _POLICY.format(script=assets.csp_hash(script), style=assets.csp_hash(parts["style"]))
    return VotePage(assets.filled("vote/page.html", parts).encode(), policy)
