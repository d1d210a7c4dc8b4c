"""Graphs in a cache of their own."""

from pathlib import Path

import pytest

from decoding.engines.onnx import graph_cache
from decoding.engines.onnx.graph_files import GraphFiles


def proven_graph(source: Path, cache: Path) -> GraphFiles:
    """The graph of a model, in the folder `graphs` of `cache`."""
    with pytest.MonkeyPatch.context() as here:
        here.setenv("GREEDYSCOPE_CACHE", str(cache))
        return graph_cache.ensure_graph(source)


def graph_without_proof(source: Path, cache: Path) -> GraphFiles:
    """The same without the time that its proof takes, though marked as proven: a test looks at the numbers itself."""
    with pytest.MonkeyPatch.context() as here:
        here.setattr(graph_cache, "prove", lambda _: True)
        return proven_graph(source, cache)
