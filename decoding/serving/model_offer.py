"""One model in the list that visitors choose from. Owns its label and the reason why it is unavailable, not how either
is found.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ModelOffer:
    """A model's name, its label in the list, and why it is unavailable ("" if it is available)."""

    name: str
    label: str
    why_not: str = ""


OfferLister = Callable[[Sequence[str]], Sequence[ModelOffer]]
"""Lists the models, given the names of those in memory. It reads disk and network, so it may take some seconds."""
