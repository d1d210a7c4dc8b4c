"""What a program is doing while its user waits: one line of the terminal, which is empty again when the work is done.

Owns that line. Nothing is printed where standard error is no terminal: a pipe, a file or a log gets errors alone.
"""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from decoding.export.labels import one_line, terminal_width
from decoding.models.progress import Report, no_report


@contextmanager
def progress_line() -> Iterator[Report]:
    """A `Report` that keeps a line of standard error up to date, until the `with` statement ends."""
    if not sys.stderr.isatty():
        yield no_report
        return
    width = shutil.get_terminal_size().columns - 1

    def show(message: str, fraction: float | None = None) -> None:
        shown = one_line(message)
        while terminal_width(shown) > width:
            shown = shown[:-1]
        # Back at its beginning: what another library prints, such as a warning, begins there.
        print(f"\r{'':{width}}\r{shown}", end="\r", file=sys.stderr, flush=True)

    try:
        yield show
    finally:
        show("")
