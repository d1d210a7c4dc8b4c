"""Checks whether tokens spell a prompt.

Owns what tokenizers do to a text: they may change spaces, case, accents and compositions, add markers at its ends, and
replace an unknown word. The letters that remain must be the same. Linear in the length of the text; knows no tokenizer.
"""

import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby

from decoding.record.tokens import Token, join_tokens

_MOST_ADDED = 2
"""The most markers that a tokenizer adds at either end."""


def tokens_spell(prompt: str, tokens: Sequence[Token]) -> bool:
    """Whether some tokenizer may have made `tokens` of `prompt`."""
    letters = _letters(prompt)
    markers = [_is_marker(token) for token in tokens]
    first = next((n for n, marker in enumerate(markers) if not marker), len(tokens))
    last = next((n for n, marker in enumerate(reversed(markers)) if not marker), len(tokens) - first)
    # Markers that a person typed belong to the prompt; those that the tokenizer added do not.
    ways = [
        tokens[before : len(tokens) - after]
        for before in range(min(first, _MOST_ADDED) + 1)
        for after in range(min(last, _MOST_ADDED) + 1)
    ]
    ways.append([token for token, marker in zip(tokens, markers, strict=True) if not marker or _is_unknown(token)])
    return any(_spells(way, letters) for way in ways)


def tokens_hold(message: str, tokens: Sequence[Token]) -> bool:
    """Whether a prompt that a chat template made holds the message; an unknown token may stand for any part of it."""
    return any(map(_is_unknown, tokens)) or _letters(message) in _letters(join_tokens(tokens))


def _spells(tokens: Sequence[Token], letters: str) -> bool:
    """Whether the tokens spell all `letters`; an unknown token may stand for any of them."""
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
    """A character without the features that a tokenizer may change."""
    # Character by character: normalizing a long run of combining marks takes quadratic time.
    plain = unicodedata.normalize("NFKD", character).casefold()
    return "".join(c for c in plain if unicodedata.category(c)[0] not in "MZC" and c != "\N{REPLACEMENT CHARACTER}")
