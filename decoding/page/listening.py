"""Whether anybody listens to a session: whoever joins Gradio's queue and goes before opening its stream of events is
never missed by Gradio, and their run would go on to its end.

Owns what is read of Gradio's queue, and nothing else.
"""

from collections.abc import Callable
from time import monotonic

import gradio as gr

UNTAKEN = 5
"""Messages that wait to be taken: a stream that is open takes each at once."""
PATIENCE_SECONDS = 5.0
"""A browser on a busy server may take so long to open its stream; Gradio sends messages by the dozen meanwhile."""


def ears(page: gr.Blocks, session: str | None) -> Callable[[], bool]:
    """Whether a session's messages are taken, to be asked now and then. A stream that was cut has none any more."""
    since: float | None = None

    def is_heard() -> bool:
        nonlocal since
        if session is None:
            return True
        messages = page._queue.pending_messages_per_session.get(session)
        if messages is None:
            return False
        if messages.qsize() <= UNTAKEN:
            since = None
            return True
        since = monotonic() if since is None else since
        return monotonic() - since < PATIENCE_SECONDS

    return is_heard
