"""A quick start: what is done before torch is there, and imports that cost less.

Owns what the program does while its page is being built. Knows files and imports; no model, no page.
"""

import gc
import inspect
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from decoding.starter import FOLDER_NAME, STARTER_ID, cache_folder, is_cached
from decoding.tokenizer_file import read_tokenizer


def read_ahead(model: str) -> threading.Thread:
    """Read a model's tokenizer and bring its weights into memory, in a thread of its own.

    Only the starter's files are known before transformers is there. Nothing is downloaded, and no failure is told: who
    loads the model meets it again, and has words for it.
    """

    def read() -> None:
        with suppress(Exception):
            if model == STARTER_ID and is_cached():
                folder = cache_folder() / FOLDER_NAME
                _into_memory(folder / "model.safetensors")
                read_tokenizer(folder)

    thread = threading.Thread(target=read, name="read ahead", daemon=True)
    thread.start()
    return thread


def _into_memory(path: os.PathLike[str]) -> None:
    """Have the system read a file into its cache while others work, where it can be told to."""
    if hasattr(os, "posix_fadvise"):  # Linux
        handle = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_WILLNEED)
        finally:
            os.close(handle)


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
