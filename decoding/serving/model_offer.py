"""One model in the list that visitors choose from. Owns its label and the reason why it is unavailable, not how either
is found.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ModelOffer:
    """A model's name, its label in the list, why it is unavailable ("" if it is available), and whether it is known to
    have a chat template.
    """

    name: str
    label: str
    why_not: str = ""
    has_chat_template: bool = False


OfferLister = Callable[[Sequence[str]], Sequence[ModelOffer]]
"""Lists the models, given the names of those in memory. It reads disk and network, so it may take some seconds."""
