"""Word that whoever asked for some work has gone, carried to wherever the work is done.

Owns the mark that a thread bears and the exception that ends its work. Knows no run, no model and no page: the page
marks the thread that it starts for a visitor, and long work looks at the mark between two of its steps.
"""

import threading
from contextvars import ContextVar

_mark: ContextVar[threading.Event | None] = ContextVar("left", default=None)


class LeftError(BaseException):
    """Nobody waits for this work any more: no error, and nothing to show, so nothing catches it on its way."""


def bear(left: threading.Event) -> None:
    """Have this thread's work end, at the latest after the step under way, once `left` is set."""
    _mark.set(left)


def has_left() -> bool:
    """Whether whoever asked for this thread's work has gone; False in a thread that nobody marked."""
    left = _mark.get()
    return left is not None and left.is_set()


def check_left() -> None:
    """Raises LeftError where `has_left`."""
    if has_left():
        raise LeftError
