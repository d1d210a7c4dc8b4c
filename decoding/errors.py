"""The errors whose messages are safe to show to anybody.

Owns the base class of these errors and the input field that an error concerns. Knows no page, no terminal and no model.
Any other exception is a bug, and surfaces as one.

    GreedyscopeError
    ├── RequestError
    ├── ModelError
    │   ├── AddressError
    │   └── RoomError
    ├── FormatError
    └── BusyError
"""

from typing import Literal

Field = Literal["prompt", "steps", "choices", "model", "forced", "text", "beams", "sampling"]


class GreedyscopeError(Exception):
    """A message of one sentence or two: what failed, which value, which limit, what to do next.

    `message` is a `decoding.messages.Message`, which has a code and parameters, wherever a page may show it; a plain
    sentence where only a terminal can. `str(error)` is the English sentence either way. `field` names the input that
    the message concerns; None if it concerns no single one.
    """

    def __init__(self, message: str, *, field: Field | None = None) -> None:
        super().__init__(message)
        self.message, self.field = message, field


class RequestError(GreedyscopeError):
    """A prompt, step count, number of choices, model name or other value that cannot be used."""


class ModelError(GreedyscopeError):
    """A model that could not be fetched or loaded, or whose output makes no sense."""

    def __init__(self, message: str, *, field: Field | None = "model") -> None:
        super().__init__(message, field=field)


class AddressError(ModelError):
    """An address that the operator gave, at which no vLLM server answers. The sentence names the address, so it is for
    the operator: a terminal, a caller of the library, the server's log. A page shows another one.
    """


class RoomError(ModelError):
    """A model that does not fit into the free memory."""


class FormatError(GreedyscopeError):
    """A text that is not a run, or a run in a version of the format that is not supported."""


class BusyError(GreedyscopeError):
    """The server is full or closing, or a run took longer than it allows."""
