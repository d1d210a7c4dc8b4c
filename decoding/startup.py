"""A quick start: what is done before torch is there, and imports that cost less.

Owns what the program does while its page is being built. Knows files and imports; no model, no page.
"""

import ctypes
import gc
import inspect
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from decoding.models.checksums import look_ahead
from decoding.models.resources import free_memory
from decoding.models.starter import FOLDER_NAME, STARTER_ID, cache_folder, is_cached
from decoding.models.tokenizer import read_tokenizer
from decoding.pages import take_ahead

PLENTY = 4
"""How many times a model's size has to be free for its memory to be taken before anybody has asked whether it fits."""


def read_ahead(model: str) -> threading.Thread:
    """Do what needs no torch of a model's load, in a thread of its own: take memory for the weights and bring them
    into the system's, read the tokenizer, and hold the files against their sums.

    Only the starter's files are known before transformers is there. Nothing is downloaded, and no failure is told: who
    loads the model meets it again, and has words for it.
    """

    def read() -> None:
        with suppress(Exception):
            if model == STARTER_ID and is_cached():
                folder = cache_folder() / FOLDER_NAME
                weights = folder / "model.safetensors"
                _into_memory(weights)
                _room_for(weights)
                read_tokenizer(folder)
                look_ahead(folder)

    thread = threading.Thread(target=read, name="read ahead", daemon=True)
    thread.start()
    return thread


def link_torch() -> None:
    """Have torch's largest library loaded and linked, in a thread of its own: a quarter of torch's import, for which
    Python waits otherwise. Whoever imports a library of another package waits meanwhile, so this is for when none is.
    """
    spec = find_spec("torch")
    library = Path(spec.origin).parent / "lib" / "libtorch_cpu.so" if spec and spec.origin else Path()
    if sys.platform == "linux" and library.is_file():
        # The function itself, since ctypes.CDLL keeps Python's lock while it loads.
        arguments = (os.fsencode(library), os.RTLD_NOW | os.RTLD_LOCAL)
        threading.Thread(target=ctypes.CDLL(None).dlopen, args=arguments, name="link torch", daemon=True).start()


def _room_for(weights: Path) -> None:
    """Take the memory that float32 weights will move to, where nobody could miss it."""
    size = weights.stat().st_size
    if free_memory() > PLENTY * size:
        take_ahead(size // 4)


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
