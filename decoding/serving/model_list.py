"""The list of models that visitors choose from: what it says of each. Owns a model's label and the reason why it is
unavailable, not how either is found; `availability` finds them.
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
