"""Imports that cost less, for a faster start. Owns what is switched off while modules are imported. Knows no model, no
page.
"""

import gc
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def quick_imports() -> Iterator[None]:
    """Import without garbage collection: imports make hundreds of thousands of objects, nearly all permanent, and
    scanning them repeatedly takes a fifth of the time.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # objects that exist now are permanent; later collections skip them
        gc.enable()


@contextmanager
def without_stubs() -> Iterator[None]:
    """Import gradio without writing stubs: on every import it parses the source of each component and writes a .pyi
    file for editors, which takes half of the import's time.

    Gradio skips classes that have no file, so meanwhile `inspect.getfile` reports none for its own classes.
    """
    real = inspect.getfile

    def getfile(thing: Any) -> str:
        if isinstance(thing, type) and thing.__module__.startswith("gradio."):
            raise OSError(f"{thing} is said to have no file")
        return real(thing)

    inspect.getfile = getfile  # type: ignore[assignment]
    try:
        yield
    finally:
        inspect.getfile = real
