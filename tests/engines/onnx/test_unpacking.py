"""The graphs for a browser say what the first says; the one without a four-bit kernel by matrices that recipes make."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from decoding.engines.onnx.graph_files import GRAPH_FILE, OUTSIDE_FILE, WEIGHTS_FILE, GraphFiles
from decoding.engines.onnx.unpacking import packed_graph, unpacked_graph
from tests import gguf_files
from tests.engines.onnx.runner import Runner
from tests.engines.onnx.test_families import assert_same, ids
from tests.engines.onnx.test_gguf import ALL, network
from tests.graphs import graph_without_proof


def made(recipe: dict[str, Any], weights: bytes) -> Any:
    """What the recipe says, in NumPy.  (outputs, blocks · block)"""
    outputs, blocks, block = recipe["outputs"], recipe["blocks"], recipe["block"]

    def floats(place: int) -> Any:
        return np.frombuffer(weights, np.float32, outputs * blocks, place)

    matrix = np.zeros((outputs, blocks, block), np.float32)
    for half in recipe["halves"]:
        pairs = np.frombuffer(weights, np.uint8, matrix.size // 2, half["numbers"])
        numbers = np.stack([pairs & 15, pairs >> 4], -1).reshape(matrix.shape).astype(np.float32)
        matrix += floats(half["scales"]).reshape(outputs, blocks, 1) * (numbers - half["zero"])
    if recipe["offsets"] is not None:
        matrix += floats(recipe["offsets"]).reshape(blocks, outputs).T[..., None]
    return matrix.reshape(outputs, blocks * block)


@pytest.mark.parametrize("family", ["llama", "qwen2", "gemma3_text"])
def test_all_graphs_say_the_same_over_the_same_weights(tmp_path: Path, family: str) -> None:
    source = gguf_files.write(tmp_path / "m.gguf", network(family), ALL)
    packed = graph_without_proof(source, tmp_path)
    graph, recipes = unpacked_graph(packed)
    folder, plain, matrices = (tmp_path / name for name in ("unpacked", "plain", "matrices"))
    for made_here, said in ((folder, graph), (plain, packed_graph(packed))):
        shutil.copytree(packed.folder, made_here)
        (made_here / GRAPH_FILE).write_bytes(said)
    matrices.mkdir()
    weights = (folder / WEIGHTS_FILE).read_bytes()
    outside = {}
    for recipe in recipes:
        matrix = made(recipe, weights)
        matrix.tofile(matrices / recipe["file"])
        outside[recipe["file"]] = [recipe["file"], 0, list(matrix.shape)]
    (folder / OUTSIDE_FILE).write_text(json.dumps(outside), "utf-8")
    assert len({len(recipe["halves"]) for recipe in recipes}) == 2, "four bits, and more"
    assert len({recipe["offsets"] is None for recipe in recipes}) == 2, "with offsets and without"
    text = ids(24)
    said = [
        Runner(files).read(text, positions=range(24))[0]
        for files in (packed, GraphFiles(folder, packed.spec, matrices), GraphFiles(plain, packed.spec, source))
    ]
    assert_same(said[1], said[0])
    assert_same(said[2], said[0])
