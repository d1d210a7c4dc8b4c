"""Values that somebody sent: what they are, and how a sentence names them.

Owns how a value is shown in a message. Knows no request.
"""

import math
import operator
from numbers import Real
from typing import TypeGuard

from decoding.messages import Message
from decoding.record.json_types import json_type_of
from decoding.record.tokens import visible

__all__ = ["is_real", "is_whole", "json_type_of", "shown", "shown_id"]

_EXACT = 2**53  # a larger float is printed with its exponent


def is_whole(value: object) -> TypeGuard[int | float]:
    """Whether a value is a whole number, also one of NumPy; a slider may send 8.0 for 8."""
    if isinstance(value, float):
        return value.is_integer()
    try:
        operator.index(value)  # type: ignore[arg-type]  # any type may be an integer's
    except TypeError:
        return False
    return not isinstance(value, bool)


def is_real(value: object) -> TypeGuard[int | float]:
    """Whether a value is a real number, also one of NumPy."""
    return isinstance(value, Real) and not isinstance(value, bool)


def shown(value: object) -> str:
    """A value that was sent, within a sentence; a large number has separators."""
    number = _number_or_words(value)
    return number if isinstance(number, str) else f"{number:,}"


def shown_id(value: object) -> str:
    """A token id that was sent, within a sentence; ids are written without separators everywhere."""
    number = _number_or_words(value)
    return number if isinstance(number, str) else str(number)


def _number_or_words(value: object) -> int | float | str:
    """A number that can be printed, 8.0 as 8; for anything else what it is, in words."""
    if isinstance(value, str):
        return f"“{visible(value[:40])}”"
    if is_whole(value) and (not isinstance(value, float) or abs(value) < _EXACT):
        value = int(value)
    elif not is_real(value):
        return json_type_of(value)
    # Python refuses to print an int of more than 4300 digits.
    if isinstance(value, int) and abs(value) >= 10**40:
        return Message("request.digits")
    return value if math.isfinite(value) else Message("request.finite")
