"""The starter's graph against figures that an independent program made."""

import json
from pathlib import Path
from typing import Any

import pytest

from decoding.engines.onnx.graph_cache import build_unpacked
from tests.engines.onnx.runner import Runner, probabilities
from tests.graphs import proven_graph

REFERENCES = sorted((Path(__file__).parents[2] / "reference" / "starter").glob("*.json"))
NOISE = 2e-5


@pytest.fixture(scope="module", params=[False, True], ids=["four bits", "unpacked"])
def runner(request: pytest.FixtureRequest, starter_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Runner:
    folder = tmp_path_factory.mktemp("graphs")
    graph = proven_graph(starter_gguf, folder)
    return Runner(build_unpacked(graph, folder) if request.param else graph)


@pytest.mark.parametrize("path", REFERENCES, ids=lambda path: path.stem)
def test_every_id_and_every_probability(runner: Runner, path: Path) -> None:
    reference: dict[str, Any] = json.loads(path.read_text("utf-8"))
    unread, cache = reference["prompt_token_ids"], None
    for step in reference["steps"]:
        logits, cache = runner.read(unread, cache)
        assert logits[-1].argmax() == step["token_id"]
        found = probabilities(logits[-1])
        for choice in step["choices"]:
            assert abs(found[choice["token_id"]] - choice["prob"]) < NOISE
        unread = [step["token_id"]]
