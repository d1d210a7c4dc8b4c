"""Ids to text for people, and a prompt to ids.

Owns what a token looks like when it is decoded alone, and the bytes of a token that is no whole character. Knows a
tokenizer's three methods and nothing of models, runs or pages. A token's id is its identity; everything here is
display.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Protocol

from pydantic import BeforeValidator, ConfigDict, PlainSerializer

_BYTE_PIECE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_VISIBLE = {" ": "·", "\n": "↵", "\t": "⇥", "\r": "␍"}

# In JSON, bytes are written as hexadecimal digits.
Hex = Annotated[
    bytes | None,
    BeforeValidator(lambda value: bytes.fromhex(value) if isinstance(value, str) else value),
    PlainSerializer(lambda value: value.hex() if value is not None else None, when_used="json"),
]


class Tokenizer(Protocol):
    """What is asked of a transformers tokenizer."""

    def __call__(self, text: str, *, add_special_tokens: bool = True) -> Any: ...

    def decode(self, token_ids: list[int], *, skip_special_tokens: bool, clean_up_tokenization_spaces: bool) -> Any: ...

    def convert_ids_to_tokens(self, ids: int) -> Any: ...


@dataclass(frozen=True, slots=True)
class Token:
    """One entry of a vocabulary.

    `text` is the token decoded alone. Where it is no whole character, `text` holds U+FFFD and `bytes` what it really
    is.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    token_id: int
    text: str
    bytes: Hex = None


class Vocabulary:
    """A tokenizer's ids as `Token`s; each is decoded once and kept."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._known: dict[int, Token] = {}

    def encode(self, prompt: str) -> list[int]:
        """Ids exactly as the tokenizer makes them by default: special tokens added and recognised, nothing trimmed."""
        return [int(token_id) for token_id in self._tokenizer(prompt)["input_ids"]]

    def encode_continuation(self, text: str) -> list[int]:
        """Ids of a text that goes on from another: as `encode`'s, but with nothing added."""
        return [int(token_id) for token_id in self._tokenizer(text, add_special_tokens=False)["input_ids"]]

    def token(self, token_id: int) -> Token:
        """The token of an id. An id beyond the tokenizer's own (a padded vocabulary) has the empty text."""
        if token_id not in self._known:
            self._known[token_id] = self._decode(token_id)
        return self._known[token_id]

    def tokens(self, token_ids: Sequence[int]) -> tuple[Token, ...]:
        return tuple(self.token(token_id) for token_id in token_ids)

    def _decode(self, token_id: int) -> Token:
        try:
            piece = self._tokenizer.convert_ids_to_tokens(token_id)
        except IndexError:
            piece = None
        if piece is None:
            return Token(token_id, "")
        text = self._tokenizer.decode([token_id], skip_special_tokens=False, clean_up_tokenization_spaces=False)
        # SentencePiece drops one space of a text's first word, and a token decoded alone is always first.
        if spaces := len(piece) - len(piece.lstrip("▁")):
            text = " " * spaces + text.lstrip(" ")
        return Token(token_id, text, piece_bytes(piece) if _REPLACEMENT in text else None)


def piece_bytes(piece: str) -> bytes | None:
    """The bytes that a vocabulary's written form stands for, or None where it does not say.

    Two spellings are in use: SentencePiece's byte fallback `<0xE2>`, and GPT-2's alphabet, which gives each of the 256
    bytes a printable character (Radford et al. 2019, `bytes_to_unicode`).
    """
    if match := _BYTE_PIECE.fullmatch(piece):
        return bytes([int(match[1], 16)])
    alphabet = _byte_alphabet()
    if all(character in alphabet for character in piece):
        return bytes(alphabet[character] for character in piece)
    return None


@cache
def _byte_alphabet() -> dict[str, int]:
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = (byte for byte in range(256) if byte not in printable)
    return {chr(b): b for b in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}


def join(tokens: Sequence[Token]) -> str:
    """The text of consecutive tokens, with characters that were split across them put together again."""
    parts = (token.bytes if token.bytes is not None else token.text.encode() for token in tokens)
    return b"".join(parts).decode("utf-8", "replace")


def visible(text: str, data: bytes | None = None) -> str:
    """A label in which nothing is invisible: spaces and line ends as signs, other unprintables and lone bytes as
    escapes.
    """
    if data is not None:
        text = data.decode("utf-8", "backslashreplace")
    return "".join(_VISIBLE.get(c, c if c.isprintable() else f"\\u{ord(c):04x}") for c in text)
