"""The type of a value that should have been another one, in words. Owns these words. Knows no field and no request."""

from decoding.messages import Message

_SHOWN_CHARACTERS = 40  # of a type's name


def json_type_of(value: object) -> str:
    """The JSON type of a value, for the person who sent it; the Python type of one that JSON does not have."""
    kinds = {"NoneType": "nothing", "bool": "boolean", "dict": "object", "str": "text"}
    kinds |= dict.fromkeys(("list", "tuple"), "list") | dict.fromkeys(("int", "float"), "number")
    name = type(value).__name__
    return Message(f"kind_of.{kinds[name]}") if name in kinds else python_type_of(value)


def python_type_of(value: object) -> str:
    """The type of a value as Python names it, for a caller of the library."""
    return Message("type_of", type=type(value).__name__[:_SHOWN_CHARACTERS])
