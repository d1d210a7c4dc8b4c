"""A quick start: imports that cost less. Knows no model and no page."""

import gc
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def quick_imports() -> Iterator[None]:
    """Import without looking for garbage meanwhile: imports make objects by the hundred thousand, nearly all to stay,
    and looking through them again and again takes a fifth of the time.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # what is here by now stays; nothing looks through it again
        gc.enable()


@contextmanager
def without_stubs() -> Iterator[None]:
    """Import gradio without its writing of stubs: for editors, it parses the source of each of its components at every
    import and writes a .pyi beside it, which takes half of the import's time.

    It leaves out classes that have no file, so meanwhile its own have none.
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
