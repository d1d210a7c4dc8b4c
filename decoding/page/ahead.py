"""A run that does not wait for the page: it is written in a thread of its own, and read as the page can show it.

Knows lines, not what is in them. Sending one update takes Gradio and the browser six milliseconds each, in which a
model on the same machine stands still; so lines that follow each other closely go together.
"""

import threading
from collections.abc import Generator, Iterator
from queue import Empty, SimpleQueue
from time import monotonic

PAUSE_SECONDS = 0.1
"""From one update to the next at least: the panel draws no oftener. Closing takes effect no later than this, or than
the step under way takes.
"""


def ahead(lines: Generator[str, None, None]) -> Iterator[str]:
    """The lines as they come: the first two at once, the others with all that came within a pause.

    Closing this closes `lines` after the step under way. What `lines` raises is raised here.
    """
    come: SimpleQueue[str | BaseException | None] = SimpleQueue()
    closed = threading.Event()

    def write() -> None:
        try:
            for line in lines:
                come.put(line)
                if closed.is_set():
                    lines.close()
            come.put(None)
        except BaseException as error:
            come.put(error)

    threading.Thread(target=write, name="run", daemon=True).start()
    try:
        last: str | BaseException | None = ""
        held_until, updates = 0.0, 0
        while isinstance(last, str):
            text, last = _all_that_came(come, held_until)
            if text:
                yield text
                updates += 1
                held_until = monotonic() + (
                    PAUSE_SECONDS if updates > 1 else 0
                )  # the header and the first step: at once
        if last is not None:
            raise last
    finally:
        closed.set()


def _all_that_came(
    come: "SimpleQueue[str | BaseException | None]", held_until: float
) -> tuple[str, str | BaseException | None]:
    """At least one item, waited for, and all others that come before `held_until`: the lines as one text, and the last
    item.
    """
    item, text = come.get(), ""
    while isinstance(item, str):
        text += item
        try:
            item = come.get(timeout=max(0.0, held_until - monotonic()))
        except Empty:
            break
    return text, item
