"""The end of a server: nobody new is let in, runs under way may end, and then all is closed, within `LIMIT_SECONDS`.

Owns how long is waited for what. The process is the caller's to end.
"""

import logging
import multiprocessing
from time import monotonic, sleep
from typing import Any

import gradio as gr

from decoding.page.http.metrics import Health

LIMIT_SECONDS = 10.0
"""What Docker and others wait between SIGTERM and SIGKILL."""
RUNS_SECONDS = 6.0
"""For the runs under way; one that is not done by then is told so."""
_WORD_SECONDS = 1.5
"""For the last words to reach the browsers: a run looks at least once a second whether it is to end."""
_POLL_SECONDS = 0.05


def close(page: gr.Blocks) -> None:
    """Close a page that was launched. Returns within `LIMIT_SECONDS`."""
    health: Health = page.health  # type: ignore[attr-defined]
    queue, server, log = health.queue, page.server, logging.getLogger(__name__)
    log.info("closing", extra={"numbers": {"running": queue.served, "waiting": queue.waiting}})
    queue.close(RUNS_SECONDS)
    server.should_exit = True  # uvicorn's word: it listens no more, and streams that are open go on
    _wait(lambda: not (queue.served or queue.waiting), RUNS_SECONDS + _WORD_SECONDS)
    left = queue.served
    page.is_running = False
    page.app.stop_event.set()  # ends Gradio's heartbeats, which never end else
    _wait(lambda: not server.thread.is_alive(), _WORD_SECONDS)
    server.force_exit = True
    server.thread.join(0.5)
    end_children()
    log.info("closed", extra={"numbers": {"left": left}})


def end_children() -> None:
    """End the processes that were forked from this one. Where a GPU is lent, one waits for the next run, and `os._exit`
    would leave it, and the GPU with it.
    """
    children = multiprocessing.active_children()
    for child in children:
        child.terminate()
    _wait(lambda: not any(child.is_alive() for child in children), _WORD_SECONDS)
    for child in children:
        child.kill()


def _wait(done: Any, seconds: float) -> None:
    end = monotonic() + seconds
    while not done() and monotonic() < end:
        sleep(_POLL_SECONDS)
