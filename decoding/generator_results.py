"""What generators return: many answers here yield their progress, and return what they found. Knows no answer."""

from collections.abc import Generator
from typing import Any, TypeVar

Result = TypeVar("Result")


def result_of(work: Generator[Any, None, Result]) -> Result:
    """Run a generator to its end, and return what it returns. Its progress is not needed."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            found: Result = end.value
            return found
