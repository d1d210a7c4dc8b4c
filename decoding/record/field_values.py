"""What the fields of a line are made of: texts, numbers, lists, and the error that names a field.

Owns `FieldError` and the readers of single values. Knows no field by name. Every function raises FieldError for a value
that is not allowed.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from decoding.messages import Message

Item = TypeVar("Item")


class FieldError(ValueError):
    """A field with a value that is not allowed. `place` is the path to it, from the outermost name inwards."""

    def __init__(self, reason: str, *place: str | int) -> None:
        super().__init__(reason)
        self.reason, self.place = reason, place

    def within(self, *place: str | int) -> "FieldError":
        """The same fault with the path seen from one level further out."""
        return FieldError(self.reason, *place, *self.place)


def read_at(name: str | int, read: Callable[[Any], Item], value: Any) -> Item:
    try:
        return read(value)
    except FieldError as error:
        raise error.within(name) from None


def check_names(record: dict[str, Any], required: Sequence[str], optional: Iterable[str] = ()) -> None:
    for name in required:
        if name not in record:
            raise FieldError(Message("read.field.missing"), name)
    for name in record:
        if name not in required and name not in optional:
            raise FieldError(Message("read.field.unknown"), name[:40])


def read_object(value: Any) -> dict[str, Any]:
    if type(value) is not dict:
        raise FieldError(Message("read.field.object"))
    return value


def read_list(record: dict[str, Any], name: str, most: int, read: Callable[[Any], Item]) -> tuple[Item, ...]:
    value = record[name]
    if type(value) is not list:
        raise FieldError(Message("read.field.list"), name)
    if len(value) > most:
        raise FieldError(Message("read.field.entries", count=f"{len(value):,}", most=f"{most:,}"), name)
    read_so_far: list[Item] = []
    try:
        for entry in value:
            read_so_far.append(read(entry))
    except FieldError as error:
        raise error.within(name, len(read_so_far)) from None
    return tuple(read_so_far)


def read_text(record: dict[str, Any], name: str, most: int) -> str:
    value = record[name]
    if type(value) is not str:
        raise FieldError(Message("read.field.text"), name)
    if len(value) > most:
        raise FieldError(Message("read.field.characters", count=f"{len(value):,}", most=f"{most:,}"), name)
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise FieldError(Message("read.field.half"), name) from None
    return value


def read_whole(record: dict[str, Any], name: str, least: int, most: int) -> int:
    value = record[name]
    if type(value) is not int or not least <= value <= most:
        raise FieldError(Message("read.field.whole", least=f"{least:,}", most=f"{most:,}"), *filter(None, [name]))
    return value


def read_number(record: dict[Any, Any], name: str | int, least: float, most: float) -> float:
    value = record[name]
    if (type(value) is not float and type(value) is not int) or not least <= value <= most:  # false for NaN
        raise FieldError(Message("read.field.number", least=f"{least:g}", most=f"{most:g}"), name)
    return float(value)


def read_boolean(record: dict[str, Any], name: str) -> bool:
    value = record[name]
    if type(value) is not bool:
        raise FieldError(Message("read.field.switch"), name)
    return value
