"""Escaping: texts of a run in a spreadsheet's cell and in Markdown, where none of them means anything.

Owns which signs are escaped, and how. Knows no table and no run.
"""

import re

# What a spreadsheet may take for a formula: an ASCII or full-width sign, or a tab or return, after any blanks. Leading
# apostrophes match too, so that removing one restores the text without guessing.
FORMULA = re.compile(r"'*[\s\x00-\x1f\u200b-\u200f\ufeff]*[=+\-@＝＋－＠]|'* *[\t\r]")

# Escaped as character references, which all Markdown programs understand: every sign could mean something to one of
# them. The harmless ones mean nothing in a table cell.
_MEANS_SOMETHING = re.compile(r"[!-/:-@\[-`{-~]")
_HARMLESS = "%,;/?·"


def spreadsheet_text(text: str) -> str:
    """A text for a cell; one that would be taken for a formula gets an apostrophe in front."""
    return "'" + text if FORMULA.match(text) else text


def markdown_text(text: str) -> str:
    """A text for a cell of a Markdown table. A percentage at its end, as in "most (8.53%)", stays readable."""
    text = _MEANS_SOMETHING.sub(lambda m: m[0] if m[0] in _HARMLESS else f"&#{ord(m[0])};", text)
    return re.sub(r"&#40;(\d+)&#46;(\d\d%)&#41;$", r"(\1.\2)", text)
