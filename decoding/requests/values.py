"""Values that somebody sent: what they are, and how a sentence names them.

Owns how a value is shown in a message. Knows no request.
"""

import math
from typing import TypeGuard

from decoding.messages import Message
from decoding.record.tokens import visible


def is_whole(value: object) -> TypeGuard[int | float]:
    """Whether a value is a whole number; a slider may send 8.0 for 8."""
    if isinstance(value, float):
        return value.is_integer()
    return isinstance(value, int) and not isinstance(value, bool)


def shown(value: object) -> str:
    """A value that was sent, within a sentence."""
    if isinstance(value, str):
        return f"“{visible(value[:40])}”"
    if not isinstance(value, int | float) or isinstance(value, bool):
        return json_type_of(value)
    # Python refuses to print an int of more than 4300 digits.
    if isinstance(value, int) and abs(value) >= 10**40:
        return Message("request.digits")
    return str(value) if math.isfinite(value) else Message("request.finite")


def json_type_of(value: object) -> str:
    """The JSON type of a value, in words for the person who sent it."""
    kinds = {"NoneType": "nothing", "bool": "boolean", "dict": "object", "str": "text"}
    kinds |= dict.fromkeys(("list", "tuple"), "list") | dict.fromkeys(("int", "float"), "number")
    return Message(f"kind_of.{kinds.get(type(value).__name__, 'else')}")
