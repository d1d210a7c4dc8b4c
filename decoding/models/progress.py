"""The report of how far a download or the making of a file has come."""

from collections.abc import Callable

Report = Callable[[str, float | None], None]
"""Called with a progress message and the fraction that is done, 0 to 1, or None if unknown."""


def no_report(message: str, fraction: float | None) -> None:
    """A `Report` that does nothing."""
