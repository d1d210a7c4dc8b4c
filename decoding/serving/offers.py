"""A model as it stands in the list that people choose from. Owns the label and the reason, and no way to have them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Offer:
    """A model: a label, and why it cannot be had now, if it cannot."""

    name: str
    label: str
    why_not: str = ""


Look = Callable[[Sequence[str]], Sequence[Offer]]
"""Is given the names of the models in memory, and looks at disk and network; may take some seconds."""
