"""How whoever fetches or makes something long says how far it has come."""

from collections.abc import Callable

Report = Callable[[str, float | None], None]
"""Called with a progress message and the fraction that is done, 0 to 1, or None if unknown."""


def no_report(message: str, fraction: float | None) -> None:
    """A `Report` that does nothing."""
