"""Under which name a network of transformers takes and returns what it remembers. Knows no more of it."""

import inspect
from typing import Any

# "cache" for all of them from transformers 5.24 on; before, "past_key_values", and "cache_params" or "state" for the
# recurrent ones.
_NAMES = ("cache", "past_key_values", "cache_params", "state")


def cache_name(network: Any) -> str | None:
    """The name, or None where the network remembers nothing."""
    taken = inspect.signature(network.forward).parameters
    return next((name for name in _NAMES if name in taken), None)
