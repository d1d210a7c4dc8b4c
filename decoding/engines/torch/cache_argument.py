"""The name of the argument with which a transformers network takes its cache. Knows nothing else of it."""

import inspect
from typing import Any

# "cache" for all of them from transformers 5.24 on; before, "past_key_values", and "cache_params" or "state" for the
# recurrent ones.
_NAMES = ("cache", "past_key_values", "cache_params", "state")


def cache_argument(network: Any) -> str | None:
    """The argument's name; None if the network takes no cache."""
    taken = inspect.signature(network.forward).parameters
    return next((name for name in _NAMES if name in taken), None)
