"""How a program prints and exits: in any encoding, and without a traceback after Ctrl+C or where the output is closed.

Owns exit codes and standard output. Knows no option and no model.
"""

import io
import os
import sys
from collections.abc import Callable
from typing import NoReturn

STOPPED = 130
"""The exit code after Ctrl+C: 128 and the number of the signal, as in a shell."""
CLOSED = 141
"""The exit code if the program that reads the output, such as `head`, has closed the pipe."""


def run_program(main: Callable[[], int | None]) -> NoReturn:
    """Run `main` and exit with the code that it returns.

    Ctrl+C ends the program with STOPPED. A character that the terminal's encoding lacks is printed as an escape. The
    program does not begin without standard output (`>&-`).
    """
    if sys.stderr is None:
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")  # `print(file=None)` writes to standard output
    if sys.stdout is None:
        _exit_unwritten("standard output is closed")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(STOPPED)
    finally:
        write("")


def write(text: str) -> None:
    """Print `text` to standard output at once. Exits if the reader has closed the pipe, or if the output cannot be
    written, with a sentence on standard error.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python would fail once more as it exits
        if isinstance(error, BrokenPipeError):
            sys.exit(CLOSED)
        _exit_unwritten(error.strerror or str(error))


def _exit_unwritten(reason: str) -> NoReturn:
    print(f"The output cannot be written: {reason}.", file=sys.stderr)
    sys.exit(2)


def set_file_encoding() -> None:
    """Print UTF-8 from here on: the output is one of this project's files, which have that encoding everywhere."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
