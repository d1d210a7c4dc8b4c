"""The tokenizers library's panics as errors.

A panic of its Rust code is no Exception: it passes every `except Exception`, and the page would wait for the model for
ever.
"""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def panics_as_errors() -> Iterator[None]:
    """Raise RuntimeError where the library panics, within."""
    try:
        yield
    except BaseException as error:
        if type(error).__module__ != "pyo3_runtime":  # its class cannot be imported
            raise
        raise RuntimeError(str(error)) from error
