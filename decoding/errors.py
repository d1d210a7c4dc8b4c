"""The errors that are safe to show to anybody.

Owns the one base class whose message may be put before a visitor as it is, and the field it belongs to. Knows no page,
no terminal and no model. Whatever is not a `GreedyscopeError` is a bug, and surfaces as one.
"""

from typing import Literal

Field = Literal["prompt", "steps", "choices", "model", "forced", "text", "beams"]


class GreedyscopeError(Exception):
    """What failed, which value, which limit, and what to do next, in one sentence or two.

    `field` names the input the message concerns, or is None where it concerns no single one.
    """

    def __init__(self, message: str, *, field: Field | None = None) -> None:
        super().__init__(message)
        self.field = field


class RequestError(GreedyscopeError):
    """A prompt, a step count, a number of choices or a model name that cannot be used."""


class ModelError(GreedyscopeError):
    """A model that could not be fetched, loaded, or whose output makes no sense."""

    def __init__(self, message: str, *, field: Field | None = "model") -> None:
        super().__init__(message, field=field)


class RoomError(ModelError):
    """A model that does not fit into the memory that is free."""


class FormatError(GreedyscopeError):
    """A text that is no run, or a run of a version this program does not know."""


class BusyError(GreedyscopeError):
    """More visitors than are served, or one who is served for too long."""
