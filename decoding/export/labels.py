"""A run's words in one line, in which nothing of it moves a terminal's cursor or hides."""

from decoding.export.protocol import Record
from decoding.record.tokens import visible


def one_line(text: str) -> str:
    """A text as one line in which only its spaces are invisible."""
    return " ".join(map(visible, text.split(" ")))


def label(text: str, data: bytes | None, before: bytes = b"") -> str:
    """A token's label as the page writes it. Bytes that are no character of their own stand as ⟨EC 9E⟩; with `before`,
    the bytes of a character that is not complete yet, a token that completes it is that character with the bytes it
    adds: 자⟨+90⟩. Raises nothing: bytes that belong to no character stay bytes.
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


def incomplete_bytes(before: bytes, data: bytes | None) -> bytes:
    """The bytes of a character that is not complete after a token; b"" where none is open."""
    data = before + data if data is not None else b""
    for count in range(min(3, len(data)), 0, -1):
        tail = data[-count:]
        if _utf8_length(tail[0]) > count and all(byte >> 6 == 0b10 for byte in tail[1:]):
            return tail
    return b""


def _utf8_length(first: int) -> int:
    """How many bytes the character has that begins with this one (RFC 3629); 0 where none begins."""
    if first < 0x80:
        return 1
    return 2 if 0xC2 <= first < 0xE0 else 3 if 0xE0 <= first < 0xF0 else 4 if 0xF0 <= first < 0xF5 else 0


def _hex_label(data: bytes, sign: str = "") -> str:
    return f"⟨{sign}{data.hex(' ').upper()}⟩"


def summary(run: Record) -> str:
    """One line: how many steps, why they ended, and what the text is worth."""
    ends = {
        "steps": "the step count was reached",
        "end_of_text": "the model ended the text",
        "context_full": "the context is full",
        "stopped": "stopped",
        "error": "ended by an error",
    }
    m = run.model
    return one_line(
        f"{len(run.steps)} steps ({ends[run.stop_reason]}); log-probability {run.logprob:.4f}, "
        f"perplexity {run.perplexity:.4f}; {m.id}, {m.dtype}, {m.device}"
        + (f". {run.message.rstrip('.')}" if run.message else "")
    )
