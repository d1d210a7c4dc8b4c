"""Ids to text for people, and a prompt to ids.

Owns what a token looks like, alone and after others, and the bytes of a token that is no whole character. The tokens of
a text add up to what the tokenizer decodes from all their ids. Knows a tokenizer's methods and nothing of models, runs
or pages. A token's id is its identity; everything here is display.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Annotated, Any, Protocol, runtime_checkable

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

_WINDOW = 8
"""So many tokens before another decide how it is written: no decoder looks back farther than one."""


class Tokenizer(Protocol):
    """What is asked of a tokenizer; one of transformers has it too."""

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


class TokenDecoder(Protocol):
    """What makes tokens of ids: a vocabulary, or a vocabulary at a place in a text."""

    def token(self, token_id: int) -> Token: ...


@runtime_checkable
class ContinuationTokenizer(Protocol):
    """A tokenizer that can read a text without putting a space in front of it."""

    def encode_within(self, text: str) -> list[int]: ...


class Vocabulary:
    """A tokenizer's ids as `Token`s; each is decoded once and kept."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._known: dict[int, Token] = {}
        self._is_plain = bool(getattr(tokenizer, "is_byte_level", False))  # tokens look the same wherever they stand

    def encode(self, prompt: str, *, add_special_tokens: bool = True) -> list[int]:
        """Ids exactly as the tokenizer makes them by default: special tokens added and recognised, nothing trimmed."""
        ids = self._tokenizer(prompt, add_special_tokens=add_special_tokens)["input_ids"]
        return [int(token_id) for token_id in ids]

    def encode_continuation(self, text: str, before: Sequence[int] = (), prompt: str = "") -> list[int]:
        """Ids of a text that goes on from another, whose ids are `before`: such as read as the text itself right there,
        where the tokenizer has such. SentencePiece's would put a space in front, another cannot go on within a word.
        """
        alone = self.encode(text, add_special_tokens=False)
        if self.text_after(before, alone) == text:
            return alone
        within = self._tokenizer.encode_within(text) if isinstance(self._tokenizer, ContinuationTokenizer) else alone
        if self.text_after(before, within) == text:
            return within
        rest = self._rest_of(prompt + text, before)
        return rest if self.text_after(before, rest) == text else within

    def token(self, token_id: int) -> Token:
        """The token of an id, decoded alone. An id beyond the tokenizer's own (a padded vocabulary) has the empty
        text.
        """
        if token_id not in self._known:
            self._known[token_id] = self._decode(token_id)
        return self._known[token_id]

    def tokens(self, token_ids: Sequence[int], before: Sequence[int] = ()) -> tuple[Token, ...]:
        """The tokens of a text, which add up to it; of one that comes after another, whose ids are `before`."""
        if self._is_plain:
            return tuple(map(self.token, token_ids))
        ids, start = [*before, *token_ids], len(before)
        return tuple(_TextPosition(self, ids, n).token(ids[n]) for n in range(start, len(ids)))

    def decoder_after(self, token_ids: Sequence[int]) -> TokenDecoder:
        """What a token looks like right after others: it may bring a space there, or not bring the one it has alone."""
        return self if self._is_plain else _TextPosition(self, token_ids, len(token_ids))

    def text_after(self, before: Sequence[int], token_ids: Sequence[int]) -> str:
        """What ids read as after those before them."""
        return join_tokens(self.tokens(token_ids, before))

    def decode(self, token_ids: Sequence[int]) -> str:
        """What the tokenizer makes of ids, its broken characters as U+FFFD."""
        made = self._tokenizer.decode(list(token_ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return str(made)

    def piece(self, token_id: int) -> str | None:
        """How the vocabulary writes a token; None for an id beyond it."""
        try:
            piece: str | None = self._tokenizer.convert_ids_to_tokens(token_id)
        except IndexError:
            return None
        return piece

    def _rest_of(self, text: str, before: Sequence[int]) -> list[int]:
        """The ids of a whole text that come after those it begins with; none where it begins with others."""
        ids = self.encode(text)
        return ids[len(before) :] if before and ids[: len(before)] == [*before] else []

    def _decode(self, token_id: int) -> Token:
        piece = self.piece(token_id)
        if piece is None:
            return Token(token_id, "")
        text = self.decode([token_id])
        # A byte of its own may be a space or a line end, which some decoders strip.
        if _is_byte(piece, text) and (data := piece_bytes(piece)):
            text = data.decode("utf-8", "replace")
            return Token(token_id, text, data if _REPLACEMENT in text else None)
        # SentencePiece drops one space of a text's first word, and a token decoded alone is always first.
        if spaces := len(piece) - len(piece.lstrip("▁")):
            text = " " * spaces + text.lstrip(" ")
        return Token(token_id, text, piece_bytes(piece) if _REPLACEMENT in text else None)


class _TextPosition:
    """The place after the first `end` of some ids."""

    def __init__(self, vocabulary: Vocabulary, token_ids: Sequence[int], end: int) -> None:
        self._vocabulary = vocabulary
        self._before, self._text = self._recent_ids(token_ids, end)

    def token(self, token_id: int) -> Token:
        """What an id adds to the text of those before it."""
        vocabulary = self._vocabulary
        alone, piece = vocabulary.token(token_id), vocabulary.piece(token_id)
        # A byte is the same everywhere; what it has around it decides only whether it is a character.
        is_byte = alone.bytes is not None or (self._text.endswith(_REPLACEMENT) and _is_byte(piece, alone.text))
        if piece is None or is_byte:
            return alone
        longer = vocabulary.decode([*self._before, token_id])
        return replace(alone, text=longer[len(self._text) :]) if longer.startswith(self._text) else alone

    def _recent_ids(self, token_ids: Sequence[int], end: int) -> tuple[list[int], str]:
        """The last of the ids, as many as make some text, and that text: a first word is written in another way."""
        count, text = _WINDOW, ""
        while not text:
            ids = [n for n in token_ids[max(0, end - count) : end] if self._vocabulary.piece(n) is not None]
            text = self._vocabulary.decode(ids) if ids else ""
            if count >= end:
                break
            count *= 4
        return ids, text


def _is_byte(piece: str | None, text: str) -> bool:
    """Whether a piece is a byte that its tokenizer puts together with others, and no word that looks like one."""
    return piece is not None and _BYTE_PIECE.fullmatch(piece) is not None and text != piece


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


def join_tokens(tokens: Sequence[Token]) -> str:
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
