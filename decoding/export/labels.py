"""Labels of tokens and the one-line summary of a run, safe to print in a terminal.

Owns how incomplete characters are written. Knows no table and no page.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence

from decoding.export.run_protocol import Record
from decoding.record.tokens import DOTTED_CIRCLE, Token, is_mark, visible

_STORED_AS = re.compile(r"(?:^|, )([\w -]+ weights, computed in \w+)(?:,|$)")
"""How an engine says that the weights are stored otherwise than they are computed; see core/descriptions.js too."""


def one_line(text: str) -> str:
    """A text as one line in which every character but the space is visible."""
    return " ".join(map(visible, text.split(" ")))


def terminal_width(text: str) -> int:
    """How many places a terminal gives to a text: two to a wide letter (Unicode's annex 11), none to a mark or to a
    letter that joins the one before it.
    """
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.category(c) in {"Mn", "Me", "Cf"} or "\u1160" <= c <= "\u11ff" else
        2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )  # fmt: skip


def label(text: str, data: bytes | None, before: bytes = b"") -> str:
    """A token's label, as on the page.

    Bytes that form no character are written as ⟨EC 9E⟩. `before` holds the bytes of an incomplete character: a token
    that completes it is labelled with the character and the bytes that it adds, as 자⟨+90⟩.
    """
    if data is None:
        return visible(text)
    missing = _utf8_length(before[0]) - len(before) if before else 0
    if 0 < missing <= len(data):
        try:
            whole = (before + data[:missing]).decode()
        except UnicodeDecodeError:
            pass
        else:
            rest = data[missing:]
            return f"{visible(whole)}{_hex_label(data[:missing], '+')}{label('', rest) if rest else ''}"
    for end in range(len(data), 0, -1):
        try:
            whole = data[:end].decode()
        except UnicodeDecodeError:
            continue
        return visible(whole) + (_hex_label(data[end:]) if data[end:] else "")
    return _hex_label(data)


def joined_label(tokens: Iterable[Token], before: bytes = b"") -> str:
    """The label of consecutive tokens; `before` holds the bytes of an incomplete character before them. A character
    whose bytes are all there is written as that, and a combining mark that follows its letter needs no dotted circle.
    """
    labelled: list[tuple[str, bytes | None, bytes]] = []
    for token in tokens:
        if labelled and before and token.bytes and token.bytes[0] >> 6 == 0b10:
            text, data, earlier = labelled[-1]
            labelled[-1] = (text, (data or b"") + token.bytes, earlier)
        else:
            labelled.append((token.text, token.bytes, before))
        before = incomplete_bytes(before, token.bytes)
    joined = ""
    for each in (label(*parts) for parts in labelled):
        is_attached = each.startswith(DOTTED_CIRCLE) and is_mark(each[1:2]) and joined[-1:] not in "·↵⇥␍⟩"
        joined += each[1:] if is_attached else each
    return joined


def incomplete_bytes(before: bytes, data: bytes | None) -> bytes:
    """The bytes of a character that is still incomplete after a token; b"" if there is none."""
    data = before + data if data is not None else b""
    for count in range(min(3, len(data)), 0, -1):
        tail = data[-count:]
        if _utf8_length(tail[0]) > count and all(byte >> 6 == 0b10 for byte in tail[1:]):
            return tail
    return b""


def bytes_before(tokens: Sequence[Token]) -> bytes:
    """The bytes of a character that a text has begun and not completed. There are three at most, so they lie within its
    last three tokens.
    """
    before = b""
    for token in tokens[-3:]:
        before = incomplete_bytes(before, token.bytes)
    return before


def _utf8_length(first: int) -> int:
    """The number of bytes of the UTF-8 character that begins with this byte (RFC 3629); 0 if none does."""
    if first < 0x80:
        return 1
    return 2 if 0xC2 <= first < 0xE0 else 3 if 0xE0 <= first < 0xF0 else 4 if 0xF0 <= first < 0xF5 else 0


def _hex_label(data: bytes, sign: str = "") -> str:
    return f"⟨{sign}{data.hex(' ').upper()}⟩"


def summary(run: Record) -> str:
    """One line: the number of steps, why the run ended, its log-probability and perplexity, and the model."""
    ends = {
        "steps": "the step count was reached",
        "end_of_text": "the model ended the text",
        "context_full": "the context is full",
        "stopped": "stopped",
        "error": "ended by an error",
    }
    model, count = run.model, len(run.steps)
    stored = _STORED_AS.search(model.engine)
    facts = model.id, stored[1] if stored else model.dtype, model.device  # a printed table has no device
    made_by = ", ".join(filter(None, facts))
    return one_line(
        f"{count} {'step' if count == 1 else 'steps'} ({ends[run.stop_reason]}); log-probability {run.logprob:.4f}, "
        f"perplexity {run.perplexity:.4f}; {made_by}" + (f". {run.message.rstrip('.')}" if run.message else "")
    )
