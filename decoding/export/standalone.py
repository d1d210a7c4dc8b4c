"""A run as one HTML file: the page's own panel with the run inside, which plays with no server and no network.

Owns what may happen in that file. It runs the scripts that are named by their hash and no others, and fetches nothing,
whatever prompt and model wrote.
"""

import html
import re
import zlib
from base64 import b64encode
from hashlib import sha256

from decoding import assets
from decoding.export.record import Record
from decoding.i18n import say
from decoding.record.tokens import visible

MAX_TITLE = 80
FRAME_HEIGHT = 880
"""Of the panel in a notebook, in CSS pixels: a frame that may not speak to its page cannot say how high it is."""

_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; script-src {scripts}; style-src {styles}; {more}"
_NO_MARKUP = "require-trusted-types-for 'script'; trusted-types 'none'"
"""No script may turn a text into markup; plotly.js does, so that its file has to do without this rule."""
_LABEL_STYLES = ("font-weight:bold", "font-style:italic", "font-size:.8em")
"""The style attributes that plotly.js writes for the panel's labels: the panel's b, i and span."""


def to_html(run: Record, *, plotly: bool = False, language: str = "") -> str:
    """The run as one HTML file. With `plotly`, plotly.js (4.8 MB) is in it and draws the bars; without it, the panel's
    own bars show the same numbers. It speaks `language`, as "ko"; "" is the reader's own.
    """
    code = f"{assets.panel_script(run.prompt)}\n{assets.read('standalone/page.js')}"
    words = _packed(assets.texts_json(page=False, prompt=run.prompt))
    panel = _inert(f'(() => {{\nconst TEXTS = {{}}, PACKED = "{words}";\n{_plain(code)}}})();')
    styles_there = (assets.read("standalone/theme.css"), assets.read("standalone/page.css"), assets.panel_css())
    style = _plain_css("\n".join(styles_there))
    scripts, styles, more, taken = [panel], [_hash(style)], _NO_MARKUP, ""
    if plotly:
        library = _inert(assets.plotly_js().read_text("utf-8"))
        scripts = [library, panel]
        styles.append(_hash(""))  # an empty element, to which it adds its rules by script
        more = f"style-src-attr 'unsafe-hashes' {' '.join(map(_hash, _LABEL_STYLES))}"
        taken = _taken(library)
    parts = {
        "policy": _POLICY.format(scripts=" ".join(map(_hash, scripts)), styles=" ".join(styles), more=more),
        "language": html.escape(language or "en"),
        "chosen": f' data-language="{html.escape(language)}"' if language else "",
        "noscript": html.escape(say("standalone.script", language)),
        "title": html.escape(_title(run)),
        "style": style,
        "panel": assets.panel_html(page=False),
        "run": run.to_jsonl(),  # no "<" in it: see `decoding.record.step.json_line`
        "scripts": taken + "\n".join(f"<script>{script}</script>" for script in scripts),
    }
    # At once, so that nothing that is filled in is taken for a place to fill.
    return re.sub(r"\{(\w+)\}", lambda place: parts[place[1]], assets.read("standalone/page.html"))


def to_frame_html(run: Record) -> str:
    """The same as an element for a notebook: a frame of its own that may run its scripts and nothing else."""
    label = f"Greedyscope: {_title(run)}"
    return (
        f'<iframe sandbox="allow-scripts" title="{html.escape(label)}" width="100%" height="{FRAME_HEIGHT}" '
        f'style="border: 0" srcdoc="{html.escape(to_html(run))}"></iframe>'
    )


def _title(run: Record) -> str:
    prompt = " ".join(map(visible, run.prompt.split()))
    prompt = prompt if len(prompt) <= MAX_TITLE else f"{prompt[: MAX_TITLE - 1]}…"
    return f"{prompt} · Greedyscope" if prompt else "Greedyscope"


def _taken(library: str) -> str:
    """Elements with the ids under which plotly.js adds the style sheet of its maps, so that it does not: there are no
    maps here, and the policy would forbid it, in red.
    """
    ids = sorted(set(re.findall(r'getElementById\("([0-9a-f]{64})"\)', library)))
    return "".join(f'<template id="{name}"></template>\n' for name in ids)


def _packed(text: str) -> str:
    """What the file's script unpacks: deflated, in base64. It makes the texts of two languages a third as long."""
    return b64encode(zlib.compress(text.encode(), level=9)).decode()


def _plain(code: str) -> str:
    """A script without its comments and indents, which nobody reads in an exported file. No text in it spans lines."""
    return re.sub(r"^[ \t]*(?://.*)?\n|^[ \t]+", "", code, flags=re.MULTILINE)


def _plain_css(style: str) -> str:
    """A style sheet without comments, and without the spaces around its brackets; no string in it has one of these."""
    first, *others = style.split("/*")
    plain = first + "".join(part.partition("*/")[2] for part in others)
    return re.sub(r"(?<!\s)\s*([{};])\s*", r"\1", plain)


def _inert(script: str) -> str:
    """A script that cannot end its own element; in strings and patterns, where these may stand, both mean the same."""
    return re.sub(r"<(?=/script|!--)", r"\\x3c", script, flags=re.IGNORECASE)


def _hash(text: str) -> str:
    """A text's name in a content security policy (CSP level 3, section 2.3.1)."""
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
