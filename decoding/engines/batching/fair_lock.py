"""One forward pass at a time, first come, first served.

Owns the queue before the network: the batch, a beam search, a scored text and a proof all pass here, each for one pass
at a time, so none waits longer than one pass of each of the others. Knows no run and no cache.
"""

import functools
import threading
from collections import deque
from typing import Any

from decoding.cancellation import check_left


class Turns:
    """A lock that is handed on in the order of asking; `threading.Lock` promises no order, and a thread that asks
    again at once would nearly always get it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken = False
        self._waiting: deque[threading.Event] = deque()

    def __enter__(self) -> None:
        with self._lock:
            if not self._taken:
                self._taken = True
                return
            mine = threading.Event()
            self._waiting.append(mine)
        mine.wait()  # it is handed over taken

    def __exit__(self, *_: object) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._taken = False


def take_turns(network: Any) -> None:
    """From here on every call of a network's `forward` waits for its turn, and ends the work of whoever has left
    instead: also those that transformers' own searches make on a shallow copy of it.
    """
    turns, forward = Turns(), network.forward

    @functools.wraps(forward)  # transformers reads its signature
    def one_pass(*args: Any, **options: Any) -> Any:
        check_left()
        with turns:
            return forward(*args, **options)

    network.forward = one_pass
