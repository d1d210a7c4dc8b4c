"""A run that does not wait for the page: it is written in a thread of its own, and read as the page can show it.

Knows lines, not what is in them. Sending one step takes Gradio some milliseconds, in which the model would stand still.
"""

import threading
from collections.abc import Generator, Iterator
from queue import Empty, SimpleQueue


def ahead(lines: Generator[str, None, None]) -> Iterator[str]:
    """The lines as they come, several at once where they came faster than they were asked for.

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
        while isinstance(last, str):
            text, last = _all_that_came(come)
            if text:
                yield text
        if last is not None:
            raise last
    finally:
        closed.set()


def _all_that_came(
    come: "SimpleQueue[str | BaseException | None]",
) -> tuple[str, str | BaseException | None]:
    """At least one item, waited for, and all others that are there: the lines as one text, and the last item."""
    item, text = come.get(), ""
    while isinstance(item, str):
        text += item
        try:
            item = come.get_nowait()
        except Empty:
            break
    return text, item
