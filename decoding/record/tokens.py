"""Tokens: ids to text for people, and a prompt to ids.

Owns how a token is shown, alone and in context, and the bytes of a token that is not a whole character. The tokens of a
text add up to what the tokenizer decodes from all their ids. Knows the methods of a tokenizer, and no model, run or
page. A token's id is its identity; its text is for display.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Annotated, Any, Protocol, runtime_checkable

from pydantic import PlainSerializer

_BYTE_PIECE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
DOTTED_CIRCLE = "\u25cc"
_VISIBLE = {" ": "·", "\n": "↵", "\t": "⇥", "\r": "␍"}
_EMOJI_JOINER = re.compile(
    "(?<=[\ufe0f\u2600-\u27bf\U0001f000-\U0001faff])\u200d(?=[\u2190-\u2bff\U0001f000-\U0001faff])"
)

# In JSON, bytes are written as hexadecimal digits.
Hex = Annotated[bytes | None, PlainSerializer(bytes.hex, when_used="json-unless-none")]

_WINDOW = 8
"""The number of previous tokens that decide how a token is written; no decoder looks back more than one."""


class Tokenizer(Protocol):
    """The methods of a tokenizer that are used; transformers' tokenizers have them too."""

    def __call__(self, text: str, *, add_special_tokens: bool = True) -> Any: ...

    def decode(self, token_ids: list[int], *, skip_special_tokens: bool, clean_up_tokenization_spaces: bool) -> Any: ...

    def convert_ids_to_tokens(self, ids: int) -> Any: ...


@dataclass(frozen=True, slots=True)
class Token:
    """One entry of a vocabulary.

    `text` is the token decoded alone or in context. If it is not a whole character, `text` contains U+FFFD, and `bytes`
    holds its bytes.
    """

    token_id: int
    text: str
    bytes: Hex = None


class TokenDecoder(Protocol):
    """Makes tokens of ids: a vocabulary, or a vocabulary at a position in a text."""

    def token(self, token_id: int) -> Token: ...


@runtime_checkable
class ContinuationTokenizer(Protocol):
    """A tokenizer that can encode a text without adding a space in front of it."""

    def encode_within(self, text: str) -> list[int]: ...


class MessageTemplate(Protocol):
    """Turns a message to the assistant into the text of a prompt, as the model's own files say."""

    def render(self, message: str) -> str: ...


class Vocabulary:
    """A tokenizer's ids as `Token`s, each decoded once and cached. Thread-safe if the tokenizer is."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._known: dict[int, Token] = {}
        self._is_plain = bool(getattr(tokenizer, "is_byte_level", False))  # tokens have the same text at every position

    def encode(self, prompt: str, *, add_special_tokens: bool = True) -> list[int]:
        """The ids that the tokenizer makes by default: special tokens are added and recognized, nothing is trimmed."""
        ids = self._tokenizer(prompt, add_special_tokens=add_special_tokens)["input_ids"]
        return [int(token_id) for token_id in ids]

    @property
    def message_template(self) -> MessageTemplate | None:
        """The model's chat template; None if it has none."""
        found: MessageTemplate | None = getattr(self._tokenizer, "message_template", None)
        return found

    def encode_continuation(self, text: str, before: Sequence[int] = (), prompt: str = "") -> list[int]:
        """The ids of a text that continues another one, whose ids are `before` and whose text is `prompt`.

        The ids decode to the text at that position if the tokenizer has such ids: SentencePiece would add a space in
        front, and other tokenizers cannot continue within a word.
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
        """The token of an id, decoded alone. An id beyond the tokenizer's vocabulary (padding) has an empty text."""
        if token_id not in self._known:
            self._known[token_id] = self._decode(token_id)
        return self._known[token_id]

    def tokens(self, token_ids: Sequence[int], before: Sequence[int] = ()) -> tuple[Token, ...]:
        """The tokens of a text, which add up to it; `before` are the ids of the text that it follows."""
        if self._is_plain:
            return tuple(map(self.token, token_ids))
        ids, start = [*before, *token_ids], len(before)
        return tuple(_TextPosition(self, ids, n).token(ids[n]) for n in range(start, len(ids)))

    def decoder_after(self, token_ids: Sequence[int]) -> TokenDecoder:
        """Decodes tokens at the position after `token_ids`, where a token may gain a space, or lose the one it has
        alone.
        """
        return self if self._is_plain else _TextPosition(self, token_ids, len(token_ids))

    def text_after(self, before: Sequence[int], token_ids: Sequence[int]) -> str:
        """The text of ids that follow the ids `before`."""
        return join_tokens(self.tokens(token_ids, before))

    def decode(self, token_ids: Sequence[int]) -> str:
        """The tokenizer's text of ids, with U+FFFD for incomplete characters."""
        made = self._tokenizer.decode(list(token_ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return str(made)

    def piece(self, token_id: int) -> str | None:
        """The vocabulary's own spelling of a token; None for an id beyond it."""
        try:
            piece: str | None = self._tokenizer.convert_ids_to_tokens(token_id)
        except IndexError:
            return None
        return piece

    def _rest_of(self, text: str, before: Sequence[int]) -> list[int]:
        """The ids of a whole text without the ids `before`; [] if it does not begin with them."""
        ids = self.encode(text)
        return ids[len(before) :] if before and ids[: len(before)] == [*before] else []

    def _decode(self, token_id: int) -> Token:
        piece = self.piece(token_id)
        if piece is None:
            return Token(token_id, "")
        text = self.decode([token_id])
        # A single byte may be a space or a line end, which some decoders strip.
        if _is_byte(piece, text) and (data := piece_bytes(piece)):
            text = data.decode("utf-8", "replace")
            return Token(token_id, text, data if _REPLACEMENT in text else None)
        # SentencePiece drops the space of a text's first word, and a token decoded alone is always first.
        if spaces := len(piece) - len(piece.lstrip("▁")):
            text = " " * spaces + text.lstrip(" ")
        return Token(token_id, text, piece_bytes(piece) if _REPLACEMENT in text else None)


class _TextPosition:
    """The position after the first `end` ids of a text."""

    def __init__(self, vocabulary: Vocabulary, token_ids: Sequence[int], end: int) -> None:
        self._vocabulary = vocabulary
        self._before, self._text = self._recent_ids(token_ids, end)

    def token(self, token_id: int) -> Token:
        """The token of an id, with the text that it adds to the ids before it."""
        vocabulary = self._vocabulary
        alone, piece = vocabulary.token(token_id), vocabulary.piece(token_id)
        # A byte is the same at every position; its neighbours only decide whether they form a character.
        is_byte = alone.bytes is not None or (self._text.endswith(_REPLACEMENT) and _is_byte(piece, alone.text))
        if piece is None or is_byte:
            return alone
        longer = vocabulary.decode([*self._before, token_id])
        return replace(alone, text=longer[len(self._text) :]) if longer.startswith(self._text) else alone

    def _recent_ids(self, token_ids: Sequence[int], end: int) -> tuple[list[int], str]:
        """The last ids before the position that make some text, and that text; a text's first word is decoded
        differently.
        """
        count, text = _WINDOW, ""
        while not text:
            ids = [n for n in token_ids[max(0, end - count) : end] if self._vocabulary.piece(n) is not None]
            text = self._vocabulary.decode(ids) if ids else ""
            if count >= end:
                break
            count *= 4
        return ids, text


def _is_byte(piece: str | None, text: str) -> bool:
    """Whether a piece is a single byte that the tokenizer joins with others, and not a word that looks like one."""
    return piece is not None and _BYTE_PIECE.fullmatch(piece) is not None and text != piece


def piece_bytes(piece: str) -> bytes | None:
    """The bytes that a vocabulary's spelling stands for; None if it does not say.

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
    """The text of consecutive tokens; characters that were split across tokens are joined again."""
    parts = (token.bytes if token.bytes is not None else token.text.encode() for token in tokens)
    return b"".join(parts).decode("utf-8", "replace")


def visible(text: str, data: bytes | None = None) -> str:
    """A label in which everything is visible: spaces and line ends as signs, other unprintable characters and single
    bytes as escapes. A joiner stays between two emoji, which are one then; a combining mark without a letter stands on
    a dotted circle. assets/panel/core/visible.js does the same.
    """
    if data is not None:
        text = data.decode("utf-8", "backslashreplace")
    base = DOTTED_CIRCLE if is_mark(text[:1]) else ""
    parts = ("".join(map(_visible_character, part)) for part in _EMOJI_JOINER.split(text))
    return base + "\u200d".join(parts)


def is_mark(character: str) -> bool:
    return unicodedata.category(character or " ").startswith("M")


def _visible_character(c: str) -> str:
    if c in _VISIBLE or c.isprintable():
        return _VISIBLE.get(c, c)
    return f"\\u{ord(c):04x}" if ord(c) < 0x10000 else f"\\u{{{ord(c):x}}}"
