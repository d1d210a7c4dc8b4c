"""Whether anybody listens to a session: whoever joins Gradio's queue and goes before opening its stream of events is
never missed by Gradio, and their run would go on to its end.

Owns what is read of Gradio's queue, and nothing else.
"""

import gradio as gr

UNTAKEN = 5
"""Messages that wait to be taken: a stream that is open takes each at once."""


def is_heard(page: gr.Blocks, session: str | None) -> bool:
    """Whether a session's messages are taken. A stream that was cut has no messages any more."""
    if session is None:
        return True
    messages = page._queue.pending_messages_per_session.get(session)
    return messages is not None and messages.qsize() <= UNTAKEN
