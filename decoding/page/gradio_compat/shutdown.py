"""Shutdown: nobody new is admitted, running visitors may finish, and then all is closed, within `LIMIT_SECONDS`.

Owns how long each part is waited for. The caller ends the process.
"""

import logging
import multiprocessing
from time import monotonic, sleep
from typing import Any

import gradio as gr

from decoding.page.http.metrics import Health

LIMIT_SECONDS = 10.0
"""The time that Docker and others leave between SIGTERM and SIGKILL."""
RUNS_SECONDS = 6.0
"""For running visitors; a run that has not ended by then gets a message."""
_DELIVERY_SECONDS = 1.5
"""For delivering the last messages to browsers; a run checks at least once a second whether it must end."""
_POLL_SECONDS = 0.05


def close_page(page: gr.Blocks, *, runs_seconds: float = RUNS_SECONDS) -> None:
    """Close a launched page; running visitors have `runs_seconds` to finish. Returns within `LIMIT_SECONDS`, if those
    are as they are by default.
    """
    health: Health = page.health  # type: ignore[attr-defined]
    queue, server, log = health.queue, page.server, logging.getLogger(__name__)
    log.info("closing", extra={"numbers": {"running": queue.served, "waiting": queue.waiting}})
    queue.close(runs_seconds)
    server.should_exit = True  # uvicorn stops listening; open streams go on
    _wait(lambda: not (queue.served or queue.waiting), runs_seconds + _DELIVERY_SECONDS)
    left = queue.served
    page.is_running = False
    page.app.stop_event.set()  # ends Gradio's heartbeats, which otherwise never end
    _wait(lambda: not server.thread.is_alive(), _DELIVERY_SECONDS)
    server.force_exit = True
    server.thread.join(0.5)
    end_children()
    log.info("closed", extra={"numbers": {"left": left}})


def end_children() -> None:
    """End the child processes. On ZeroGPU one waits for the next run; `os._exit` would leave it running, and the GPU
    taken.
    """
    children = multiprocessing.active_children()
    for child in children:
        child.terminate()
    _wait(lambda: not any(child.is_alive() for child in children), _DELIVERY_SECONDS)
    for child in children:
        child.kill()


def _wait(done: Any, seconds: float) -> None:
    end = monotonic() + seconds
    while not done() and monotonic() < end:
        sleep(_POLL_SECONDS)
