"""A graph that is used before it is proven, since memory was short when it was made."""

import logging
from pathlib import Path
from typing import Any

import onnxruntime
import pytest

import decoding
from decoding.engines.onnx import engine, graph_cache, graph_proof
from decoding.engines.onnx.graph_files import GraphFiles
from decoding.engines.onnx.network import OnnxNetwork
from decoding.errors import ModelError
from decoding.models.checksums import write_checksums
from decoding.models.spec import NoGraphError
from decoding.record.trace import ModelInfo
from tests import tiny_models
from tests.engines.onnx.test_graph_proof import alter, folder
from tests.graphs import proven_graph
from tests.machines import give_memory

__all__ = ["folder"]

PROVEN_WHY = "cpu was asked for; float32 was asked for"


def test_a_graph_without_memory_for_its_proof_is_logged(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    give_memory(monkeypatch, 10**6)
    with caplog.at_level(logging.WARNING):
        proven_graph(folder, tmp_path)
    assert "The graph of model is used unproven: its network needs 1500 MB of memory, and 1 are free." in caplog.text


def test_a_graph_that_was_made_without_memory_is_proven_when_there_is_memory(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(free: int) -> ModelInfo:
        monkeypatch.setattr(graph_proof, "free_memory", lambda: free)
        return decoding.load(str(folder), device="cpu", dtype="float32").info

    monkeypatch.setenv("GREEDYSCOPE_CACHE", str(tmp_path / "cache"))
    tiny_models.tokenizer().save_pretrained(folder)
    for _ in range(2):
        short = load(0)
        assert short.engine == f"ONNX Runtime {onnxruntime.__version__}, unproven, float32"
        assert "exact" not in short.why
        assert "has not been compared with transformers' network yet" in short.why
    proven = load(2**40)
    assert (proven.engine, proven.why) == (f"ONNX Runtime {onnxruntime.__version__}, float32", PROVEN_WHY)
    assert load(0) == proven


def test_a_graph_that_another_process_refuses_as_this_one_opens_it_goes_through_transformers(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(free: int) -> str:
        monkeypatch.setattr(graph_proof, "free_memory", lambda: free)
        return decoding.load(str(folder), device="cpu", dtype="float32").info.engine

    def refuse_and_open(files: GraphFiles, **options: Any) -> OnnxNetwork:
        monkeypatch.setattr(graph_proof, "free_memory", lambda: 2**40)
        with pytest.raises(NoGraphError, match="its graph differs by"):
            graph_cache.ensure_graph(folder)
        return OnnxNetwork(files, **options)

    monkeypatch.setenv("GREEDYSCOPE_CACHE", str(tmp_path / "cache"))
    tiny_models.tokenizer().save_pretrained(folder)
    assert "unproven" in load(0)
    [made] = (path.parent for path in (tmp_path / "cache" / "graphs").glob("*/weights.bin"))
    alter(made)
    write_checksums(made)
    monkeypatch.setattr(engine, "OnnxNetwork", refuse_and_open)
    assert "transformers" in load(0)


def test_a_graph_that_is_wrong_goes_once_there_is_memory_to_see_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as short:
        give_memory(short, 10**6)
        made = proven_graph(folder, tmp_path).folder
    alter(made)
    write_checksums(made)
    for _ in range(2):
        with pytest.raises(NoGraphError, match="its graph differs by"):
            proven_graph(folder, tmp_path)
        assert {one.name for one in made.iterdir()} == {"refused", "source"}


def test_a_graph_that_was_damaged_before_it_was_proven_is_made_anew(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as short:
        give_memory(short, 10**6)
        made = proven_graph(folder, tmp_path)
    alter(made.folder)
    with pytest.raises(ModelError, match="changed"):
        proven_graph(folder, tmp_path)
    assert proven_graph(folder, tmp_path).is_proven
