"""Exports a run as one HTML file: the page's panel with the run inside, without a server or network.

Owns what that file may do: its content security policy allows only its own scripts, named by their hashes, and no
requests, whatever the prompt and the generated text contain. Knows no page and no model.
"""

import html
import json
import re
import zlib
from base64 import b64encode

from decoding import assets, plotly_script
from decoding.export.run_protocol import Record
from decoding.i18n import translate
from decoding.record.tokens import visible

MAX_TITLE = 80
FRAME_HEIGHT = 880
"""The height of the panel in a notebook, in CSS pixels, because a sandboxed frame cannot report its own height."""

_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; script-src {scripts}; style-src {styles}; {more}"
_NO_MARKUP = "require-trusted-types-for 'script'; trusted-types 'none'"
"""No script may turn text into markup. plotly.js does, so a file with it goes without this rule."""


def to_html(run: Record, *, plotly: bool = False, language: str = "") -> str:
    """The run as one HTML file.

    With `plotly`, plotly.js (4.8 MB) is embedded and draws the bars and a lens; without it, the panel's own bars and
    table show the same numbers. `language` is a code such as "ko"; "" stands for the reader's own.
    """
    words = _compressed(assets.texts_json(page=False, prompt=run.prompt))
    given = json.dumps(assets.data_for(run.prompt), separators=(",", ":"))
    code = _minified_script(assets.plotly_file_script() if plotly else assets.file_script())
    start = "startFileWithPlotly" if plotly else "startFile"
    panel = assets.escape_script_end(f'(() => {{\n{code}\n{start}("{words}", {given});\n}})();')
    sheets = [
        assets.read("standalone/theme.css"),
        assets.read("standalone/page.css"),
        assets.panel_css(),
        assets.read("panel/root.css"),
    ]
    if plotly:
        sheets.append(assets.read("panel/lens_picture.css"))
    style = _minified_css("\n".join(sheets))
    scripts, styles, more, reserved = [panel], [assets.csp_hash(style)], _NO_MARKUP, ""
    if plotly:
        library = assets.escape_script_end(plotly_script.plotly_js().read_text("utf-8"))
        scripts = [library, panel]
        styles.append(plotly_script.EMPTY_STYLE_ELEMENT)
        more = f"style-src-attr {plotly_script.STYLE_ATTRIBUTES}; img-src {plotly_script.IMAGES}"
        reserved = _reserved_style_ids(library)
    parts = {
        "policy": _POLICY.format(scripts=" ".join(map(assets.csp_hash, scripts)), styles=" ".join(styles), more=more),
        "language": html.escape(language or "en"),
        "chosen": f' data-language="{html.escape(language)}"' if language else "",
        "noscript": html.escape(translate("standalone.script", language)),
        "title": html.escape(_title(run)),
        "style": style,
        "panel": assets.panel_html(page=False),
        "run": run.to_jsonl(),  # contains no "<": see `decoding.record.step.json_line`
        "scripts": reserved + "\n".join(f"<script>{script}</script>" for script in scripts),
    }
    return assets.filled("standalone/page.html", parts)


def to_frame_html(run: Record) -> str:
    """The run as an element for a notebook: a sandboxed frame that may only run its own scripts."""
    label = f"Greedyscope: {_title(run)}"
    return (
        f'<iframe sandbox="allow-scripts" title="{html.escape(label)}" width="100%" height="{FRAME_HEIGHT}" '
        f'style="border: 0" srcdoc="{html.escape(to_html(run))}"></iframe>'
    )


def _title(run: Record) -> str:
    prompt = " ".join(map(visible, run.prompt.split()))
    prompt = prompt if len(prompt) <= MAX_TITLE else f"{prompt[: MAX_TITLE - 1]}…"
    return f"{prompt} · Greedyscope" if prompt else "Greedyscope"


def _reserved_style_ids(library: str) -> str:
    """Elements with the ids of plotly.js's style sheet for maps, so that it does not add that sheet, which the policy
    would report as an error.
    """
    ids = sorted(set(re.findall(r'getElementById\("([0-9a-f]{64})"\)', library)))
    return "".join(f'<template id="{name}"></template>\n' for name in ids)


def _compressed(text: str) -> str:
    """The texts, deflated and in base64, which makes those of two languages a third as long. The file's script unpacks
    them.
    """
    return b64encode(zlib.compress(text.encode(), level=9)).decode()


def _minified_script(code: str) -> str:
    """A script without comments, indentation and the line ends that say nothing: after what opens or separates, and
    before what closes. No text in it spans lines, and none has two slashes between spaces.
    """
    plain = re.sub(r"^[ \t]*(?://.*)?\n|^[ \t]+|[ \t]+// .*$", "", code, flags=re.MULTILINE)
    return re.sub(r"(?<=[{(\[;,])\n|\n(?=[})\]])", "", plain)


def _minified_css(style: str) -> str:
    """A style sheet without comments, spaces around brackets and after colons and commas, and the last semicolon of a
    rule. No string in it contains them.
    """
    first, *others = style.split("/*")
    plain = first + "".join(part.partition("*/")[2] for part in others)
    return re.sub(r"(?:(?<!\s)\s+)?([{};])\s*|(?<=[:,]) ", r"\1", plain).replace(";}", "}")
