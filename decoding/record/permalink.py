"""A run as a link: what it takes to write it again, short enough for an address.

Owns the encoding, both ways. Knows no page and no model: what comes out is only well-formed, and is checked like any
other request. The panel's `links.js` writes the same.
"""

import base64
import json
import zlib
from typing import Annotated

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from decoding.errors import FormatError

VERSION = "1"
MAX_CHARACTERS = 8_000
_MAX_BYTES = 300_000
"""What a link may unpack to: a few letters can be made to unpack to gigabytes."""


@dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid", strict=True))
class Link:
    """What a link says: the request, the step that was looked at, and the page's language ("" is the reader's own)."""

    model: str
    prompt: str
    steps: int
    choices: int
    forced: Annotated[list[Annotated[list[int], Field(min_length=2, max_length=2)]], Field(max_length=256)]
    step: Annotated[int, Field(ge=0)] = 0
    language: Annotated[str, Field(pattern=r"\A([a-z]{2,3}(-[A-Za-z0-9]{2,8})*)?\z")] = ""


_LINK = TypeAdapter(Link)
_FIELDS = ("model", "prompt", "steps", "choices", "forced", "step", "language")
_OPTIONAL = 1
"""So many of the last fields may be missing: links that were sent before there were such fields still open."""


def to_link(link: Link) -> str:
    """The value of the address's `run`: a version, and the fields as deflated JSON in URL-safe base 64."""
    fields = [getattr(link, name) for name in _FIELDS if name != "language" or link.language]
    text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    packed = packer.compress(text.encode()) + packer.flush()
    return VERSION + base64.urlsafe_b64encode(packed).decode().rstrip("=")


def from_link(value: str) -> Link:
    """What `to_link` wrote. Raises FormatError for a link that is cut, forged, too long or of another version."""
    if len(value) > MAX_CHARACTERS:
        raise FormatError(f"This link is {len(value):,} characters long; at most {MAX_CHARACTERS:,} are read.")
    if not value.startswith(VERSION):
        raise FormatError("This link is of a version that this page does not know. Type the prompt instead.")
    try:
        packed = base64.b64decode(value[1:] + "=" * (-len(value[1:]) % 4), altchars=b"-_", validate=True)
        unpacker = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
        text = unpacker.decompress(packed, _MAX_BYTES)
        fields = json.loads(text.decode())
        if not unpacker.eof or not isinstance(fields, list) or not 0 <= len(_FIELDS) - len(fields) <= _OPTIONAL:
            raise ValueError
        return _LINK.validate_json(json.dumps(dict(zip(_FIELDS, fields, strict=False))))
    except (ValueError, zlib.error, RecursionError, ValidationError):
        raise FormatError(
            "This link is broken: it is cut short or altered. Ask for it again, or type the prompt."
        ) from None
