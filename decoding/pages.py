"""Memory in large pieces, for which the system is asked for large pages; and such memory taken ahead of its use.

What reads a lot of memory once looks up each page of it on the way, 4 KB on most systems. NumPy asks for large pages,
2 MB, for every array from 4 MiB on, where there are such pages to be had. To be given a page for the first time costs
more than to write to it, most of all in a virtual machine: there half a gigabyte took 0.6 s, which may pass while
others work. Knows no weights and no model.
"""

from typing import Any

import numpy as np

Numbers = np.ndarray[Any, np.dtype[np.float32]]

LINE = 16
"""Numbers in a cache line, on which a piece begins."""
_PAGE = 1024
"""Numbers in the smallest page there is."""
_ahead: list[Numbers] = []


def large(count: int) -> Numbers:
    """So many uninitialised numbers in one piece, the first of them at the beginning of a cache line."""
    numbers: Numbers = np.empty(count + LINE, np.float32)
    begin = -numbers.ctypes.data // numbers.itemsize % LINE
    return numbers[begin : begin + count]


def take_ahead(count: int) -> None:
    """Take a piece of so many numbers now, page by page; Python's lock is free meanwhile."""
    numbers = large(count)
    numbers[::_PAGE] = 0
    _ahead.append(numbers)


def taken_ahead() -> Numbers | None:
    """What was taken, for whoever asks first."""
    try:
        return _ahead.pop()
    except IndexError:
        return None
