"""Permalinks: a run as a link, with all that is needed to repeat it.

Owns the encoding in both directions. Knows no page and no model: a decoded link is only well-formed, and is checked
like any other request. The page's own links are written in the browser, by the panel's `core/permalink.js`, in the same
encoding.
"""

import base64
import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from decoding.errors import FormatError
from decoding.limits import (
    MAX_LINK_BYTES,
    MAX_LINK_CHARACTERS,
    MAX_NOTE_CHARACTERS,
    MAX_PROMPT_CHARACTERS,
    MAX_SEED,
    MAX_STEPS,
    MAX_VOCABULARY,
)
from decoding.messages import Message

VERSION = "1"
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,8}")


@dataclass(frozen=True, slots=True)
class Link:
    """The contents of a link: the request, the selected step, and the page's language ("": the reader's own)."""

    model: str
    prompt: str
    steps: int
    choices: int
    forced: list[list[int]]
    step: int = 0
    language: str = ""
    how: Mapping[str, Any] = field(default_factory=dict)
    """What else the request says, as in a run's header: `past_end`, `sampling`, `as_message`. The request checks it."""


_FIELDS = ("model", "prompt", "steps", "choices", "forced", "step", "language", "how")
_OPTIONAL = 2
"""This many of the last fields may be missing, so that links from before these fields existed still open."""


def to_link(link: Link) -> str:
    """The value of the URL parameter `run`: a version, and the fields as deflated JSON in URL-safe base64."""
    count = len(_FIELDS) if link.how else len(_FIELDS) - (1 if link.language else 2)
    fields = [getattr(link, name) for name in _FIELDS[:count]]
    text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    packed = packer.compress(text.encode()) + packer.flush()
    return VERSION + base64.urlsafe_b64encode(packed).decode().rstrip("=")


def from_link(value: str) -> Link:
    """Decode what `to_link` wrote. Raises FormatError for a link that is cut, forged, too long or of another
    version.
    """
    if len(value) > MAX_LINK_CHARACTERS:
        raise FormatError(Message("link.long", count=f"{len(value):,}", most=f"{MAX_LINK_CHARACTERS:,}"))
    if not value.startswith(VERSION):
        raise FormatError(Message("link.version"))
    try:
        packed = base64.b64decode(value[1:] + "=" * (-len(value[1:]) % 4), altchars=b"-_", validate=True)
        unpacker = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
        text = unpacker.decompress(packed, MAX_LINK_BYTES)
        fields = json.loads(text.decode())
        if not unpacker.eof or not isinstance(fields, list) or not 0 <= len(_FIELDS) - len(fields) <= _OPTIONAL:
            raise ValueError
        return _link(dict(zip(_FIELDS, fields, strict=False)))
    except (ValueError, zlib.error, RecursionError):
        raise FormatError(Message("link.broken")) from None


def _link(fields: dict[str, Any]) -> Link:
    """The link of decoded fields. Raises ValueError at the first invalid one; the request checks the ranges of
    numbers.
    """
    model, prompt, forced, language = (fields.get(name, "") for name in ("model", "prompt", "forced", "language"))
    _check(type(model) is str and len(model) <= MAX_NOTE_CHARACTERS)
    _check(type(prompt) is str and len(prompt) <= MAX_PROMPT_CHARACTERS)
    f"{model}{prompt}".encode()  # raises UnicodeEncodeError, a ValueError, for a lone surrogate
    _check(
        all(type(fields[name]) is int and abs(fields[name]) < MAX_VOCABULARY for name in ("steps", "choices", "step"))
    )
    _check(fields["step"] >= 0)
    _check(type(forced) is list and len(forced) <= MAX_STEPS)
    for pair in forced:
        _check(type(pair) is list and len(pair) == 2 and all(type(number) is int for number in pair))
        _check(all(abs(number) < MAX_VOCABULARY for number in pair))
    _check_how(fields.setdefault("how", {}))
    _check(type(language) is str and (language == "" or _LANGUAGE.fullmatch(language) is not None))
    return Link(**fields)


def _check_how(how: Any) -> None:
    """Raises ValueError for anything but `past_end`, `as_message` and the numbers of `sampling`."""
    _check(type(how) is dict and how.keys() <= {"past_end", "sampling", "as_message"})
    _check(all(type(how.get(name, False)) is bool for name in ("past_end", "as_message")))
    sampling = how.get("sampling", {})
    _check(type(sampling) is dict and sampling.keys() <= {"temperature", "top_k", "top_p", "seed", "first"})
    for name, value in sampling.items():
        is_real = name in ("temperature", "top_p")
        _check(type(value) is int or (is_real and type(value) is float))
        _check(0 <= value <= MAX_SEED)


def _check(holds: bool) -> None:
    if not holds:
        raise ValueError
