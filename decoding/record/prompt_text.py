"""Whether a prompt is the text that its tokens spell.

Owns what tokenizers do to a text on its way: spaces, case, accents and compositions may be changed, markers added at
its ends, an unknown word replaced. What is left is the same. Linear in the text's length; knows no tokenizer.
"""

import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby

from decoding.record.tokens import Token, join_tokens

_MOST_ADDED = 2
"""Markers that a tokenizer may add at either end."""


def tokens_spell(prompt: str, tokens: Sequence[Token]) -> bool:
    """Whether `tokens` may be what some tokenizer made of `prompt`."""
    letters = _letters(prompt)
    markers = [_is_marker(token) for token in tokens]
    first = next((n for n, marker in enumerate(markers) if not marker), len(tokens))
    last = next((n for n, marker in enumerate(reversed(markers)) if not marker), len(tokens) - first)
    # Markers that a person typed are part of the prompt; those that the tokenizer added are not.
    ways = [
        tokens[before : len(tokens) - after]
        for before in range(min(first, _MOST_ADDED) + 1)
        for after in range(min(last, _MOST_ADDED) + 1)
    ]
    ways.append([token for token, marker in zip(tokens, markers, strict=True) if not marker or _is_unknown(token)])
    return any(_spells(way, letters) for way in ways)


def _spells(tokens: Sequence[Token], letters: str) -> bool:
    """Whether the tokens spell all letters, an unknown one standing for any of them."""
    parts = [(unknown, [*group]) for unknown, group in groupby(tokens, _is_unknown)]
    at, free = 0, False
    for place, (unknown, group) in enumerate(parts, start=1):
        if unknown:
            free = True
            continue
        part = _letters(join_tokens(group))
        if free and place == len(parts):  # the last part ends the text
            found = len(letters) - len(part) if letters.endswith(part) else -1
        else:
            found = letters.find(part, at) if free else at if letters.startswith(part, at) else -1
        if found < at:
            return False
        at, free = found + len(part), False
    return free or at == len(letters)


def _is_marker(token: Token) -> bool:
    text = token.text.strip()
    return len(text) > 2 and text[0] + text[-1] in ("<>", "[]")


def _is_unknown(token: Token) -> bool:
    return _is_marker(token) and "unk" in token.text.lower()


def _letters(text: str) -> str:
    return "".join(map(_letter, text))


@lru_cache(maxsize=4096)
def _letter(character: str) -> str:
    """A character without what a tokenizer may change of it."""
    # One by one: what Unicode puts in order, a long run of marks, takes the square of its length.
    plain = unicodedata.normalize("NFKD", character).casefold()
    return "".join(c for c in plain if unicodedata.category(c)[0] not in "MZC" and c != "\N{REPLACEMENT CHARACTER}")
