"""Cancellation: how work ends when the visitor who asked for it has left.

Owns the event that a thread carries and the exception that ends its work. Knows no run, no model and no page: the page
binds an event to the thread it starts for a visitor (`decoding.serving.stream`), and long work checks the event between
two steps. `decoding.page.gradio_compat.liveness` finds out that a visitor has left.
"""

import threading
from contextvars import ContextVar

_cancelled: ContextVar[threading.Event | None] = ContextVar("cancelled", default=None)


class WorkCancelledError(BaseException):
    """The visitor has left. A BaseException, so that no handler of errors catches it on its way out."""


def bind(event: threading.Event) -> None:
    """Cancel the work of the calling thread once `event` is set, at the latest after the step under way."""
    _cancelled.set(event)


def is_cancelled() -> bool:
    """Whether the event of the calling thread is set. False in a thread that has none."""
    event = _cancelled.get()
    return event is not None and event.is_set()


def raise_if_cancelled() -> None:
    """Raises WorkCancelledError if the visitor of the calling thread has left."""
    if is_cancelled():
        raise WorkCancelledError
