"""An engine that can be watched and disturbed, whatever else is done with the one that it is made of."""

from collections.abc import Callable
from copy import copy
from typing import Any

from decoding.engines.local_engine import LocalEngine
from decoding.engines.prefix_cache import PrefixCache

Instead = Callable[[Callable[..., Any]], Callable[..., Any]]
"""Makes what is called in place of a network's method, of that method."""


class WatchedNetwork:
    """A network with other methods in place of some of its own; see `decoding.engines.network_protocol.Network`."""

    def __init__(self, network: Any, **instead: Instead) -> None:
        self._network, self._instead = network, instead

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._network, name)
        return self._instead[name](found) if name in self._instead else found


def watched(engine: LocalEngine, **instead: Instead) -> LocalEngine:
    """The same weights in an engine of one's own, with other methods in its network; it knows no earlier runs."""
    network: Any = WatchedNetwork(engine.network, **instead)
    engine = copy(engine)
    engine.network, engine.prefix_cache = network, PrefixCache(network)
    return engine


def noting(passes: list[Any], note: Callable[..., Any] = lambda *given, **_: given) -> Instead:
    """Note each call of a method in a list, by default with its arguments."""

    def instead(method: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*given: Any, **options: Any) -> Any:
            passes.append(note(*given, **options))
            return method(*given, **options)

        return noted

    return instead
