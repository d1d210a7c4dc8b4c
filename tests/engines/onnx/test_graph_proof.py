"""A graph that says anything else than the network is not used."""

import errno
import json
import logging
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import decoding
from decoding.engines.onnx import graph_cache, graph_proof
from decoding.engines.onnx.graph_cache import build_unpacked
from decoding.engines.onnx.graph_files import GraphFiles
from decoding.engines.onnx.session import Session, Threads
from decoding.engines.torch.gguf_network import gguf_network
from decoding.errors import ModelError
from decoding.models.gguf import read_gguf
from decoding.models.spec import NoGraphError
from tests import gguf_files, tiny_models
from tests.engines.onnx import test_families, test_gguf
from tests.graphs import graph_without_proof, proven_graph


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    test_families.network("mistral").save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def alter(graph: Path) -> None:
    weights = np.fromfile(graph / "weights.bin", np.float32)  # the tables of angles lie here
    (weights * np.float32(1.02)).tofile(graph / "weights.bin")


def test_a_graph_is_held_against_the_network_once(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proven: list[GraphFiles] = []

    def watched(files: GraphFiles) -> bool:
        proven.append(files)
        return graph_proof.prove(files)

    monkeypatch.setattr(graph_cache, "prove", watched)
    for _ in range(2):
        proven_graph(folder, tmp_path)
    assert len(proven) == 1


def test_another_graph_is_refused_and_stays_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def altered(files: GraphFiles) -> bool:
        alter(files.folder)
        return graph_proof.prove(files)

    with monkeypatch.context() as wrong:
        wrong.setattr(graph_cache, "prove", altered)
        with caplog.at_level(logging.WARNING), pytest.raises(NoGraphError, match="its graph differs by"):
            proven_graph(folder, tmp_path)
    assert "model goes without a graph: its graph differs by" in caplog.text
    with pytest.raises(NoGraphError, match="its graph differs by"):
        proven_graph(folder, tmp_path)
    assert {one.name for one in (tmp_path / "graphs").rglob("*") if one.is_file()} == {"lock", "refused", "source"}


def test_a_refusal_that_cannot_be_written_leaves_no_half_of_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_text

    def fill(path: Path, text: str, *how: Any) -> int:
        if not path.name.startswith("refused"):
            return write(path, text, *how)
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    def refuse(_: GraphFiles) -> bool:
        raise NoGraphError("its graph differs")

    with monkeypatch.context() as full:
        full.setattr(graph_cache, "prove", refuse)
        full.setattr(Path, "write_text", fill)
        with pytest.raises(NoGraphError, match="its graph differs"):
            proven_graph(folder, tmp_path)
    assert proven_graph(folder, tmp_path).is_proven


def test_float32_weights_are_held_to_the_same_weights_as_they_are_stored(tmp_path: Path) -> None:
    path = gguf_files.write(tmp_path / "m.gguf", test_gguf.network("llama"), ["Q4_0"])
    stored = graph_without_proof(path, tmp_path)
    packed, unpacked = Session(stored, Threads(1)), build_unpacked(stored, tmp_path)
    graph_proof.prove_same(Session(unpacked, Threads(1)), packed)
    weights = np.fromfile(unpacked.folder / "weights.bin", np.float32)
    weights[-10_000:] *= np.float32(1.02)  # at the end is the head
    weights.tofile(unpacked.folder / "weights.bin")
    with pytest.raises(NoGraphError, match="differs by"):
        graph_proof.prove_same(Session(unpacked, Threads(1)), packed)


def test_texts_are_short_and_long_and_cross_each_window(folder: Path, tmp_path: Path) -> None:
    spec = graph_without_proof(folder, tmp_path).spec
    lengths = [len(ids) for ids in graph_proof.texts(replace(spec, windows=(0, 512), context_length=4096))]
    assert lengths == [1, 7, 24, 400, 536]
    assert [len(ids) for ids in graph_proof.texts(spec)] == [1, 7, 24, 32, 96]


@pytest.mark.parametrize("said", [{"num_return_sequences": 4}, {"eos_token_id": [7, -1]}], ids=str)
def test_settings_that_greedy_decoding_ignores_keep_no_graph_away(
    folder: Path, tmp_path: Path, said: dict[str, Any]
) -> None:
    (folder / "generation_config.json").write_text(json.dumps(said))
    spec = proven_graph(folder, tmp_path).spec
    assert spec.end_ids == ({7} if "eos_token_id" in said else set())


def test_a_network_that_could_not_be_run_once_refuses_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as once:
        once.setattr(sys, "executable", str(tmp_path / "no python"))
        with pytest.raises(NoGraphError, match="its network could not be loaded to prove the graph"):
            proven_graph(folder, tmp_path)
    assert proven_graph(folder, tmp_path).is_proven


@pytest.mark.parametrize("family", test_gguf.FAMILIES)
def test_the_network_of_a_gguf_is_the_one_it_was_written_from(tmp_path: Path, family: str) -> None:
    model = test_gguf.network(family)
    file = read_gguf(gguf_files.write(tmp_path / "m.gguf", model, ["Q8_0", "Q4_1"]))
    theirs: Any = gguf_network(file)
    text = test_families.ids(40)
    wanted = test_families.expected(model, text)
    np.testing.assert_allclose(test_families.expected(theirs, text), wanted, atol=2e-3)
    assert torch.is_tensor(next(iter(theirs.parameters())))


def test_a_gguf_is_proven_as_stored_and_unpacked(tmp_path: Path) -> None:
    path = gguf_files.write(tmp_path / "m.gguf", test_gguf.network("gemma3_text"), ["Q5_0", "Q6_K", "Q4_K"])
    graph_proof.prove(build_unpacked(proven_graph(path, tmp_path), tmp_path))


@pytest.mark.parametrize(
    ("changes", "said", "reason"),
    [
        ({}, {"qwen3.attention.sliding_window": 1}, "its windows are one position long"),
        ({"head_dim": 24}, {}, "its heads are 24 wide"),
    ],
    ids=["windows", "heads"],
)
def test_an_attention_without_a_graph_goes_through_transformers_and_agrees(
    tmp_path: Path, changes: dict[str, Any], said: dict[str, Any], reason: str
) -> None:
    """In windows of one position the cache of transformers gives other numbers: its `generate` called an exact run
    different.
    """
    said |= gguf_files.byte_tokenizer(tiny_models.VOCABULARY)
    path = gguf_files.write(tmp_path / "m.gguf", test_gguf.network("qwen3", **changes), ["Q8_0"], **said)
    model = decoding.load(str(path), device="cpu", dtype="float32")
    run = decoding.trace(model, "the three", max_new_tokens=8, top_k=2)
    assert len(set(run.generated_token_ids)) > 1
    assert decoding.agreement(model, run).identical
    with pytest.raises(NoGraphError, match=reason):
        proven_graph(path, tmp_path)


def test_a_file_of_another_family_than_it_says_is_at_fault_itself(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = gguf_files.write(tmp_path / "m.gguf", test_gguf.network("qwen3"), ["Q8_0"])
    path.write_bytes(path.read_bytes().replace(b"qwen3", b"qwen2"))
    with pytest.raises(ModelError, match=r"^m\.gguf (has|lacks) the tensor blk\."):
        proven_graph(path, tmp_path)
    assert not caplog.text
    assert not [one for one in (tmp_path / "graphs").iterdir() if one.is_dir()]


def test_making_the_starters_graph_imports_no_torch(starter_gguf: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from decoding.engines.onnx.graph_cache import ensure_graph; "
        f"ensure_graph(Path({str(starter_gguf)!r})); "
        "print(sorted({'torch', 'transformers', 'gguf'} & set(sys.modules)))"
    )
    variables = os.environ | {"GREEDYSCOPE_CACHE": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_the_starters_figures_are_those_of_the_references() -> None:
    found = graph_proof.starter_texts()
    assert len(found) == 5
    assert sum(len(text.following) for text in found) == 8 + 12 + 12 + 24 + 24


@pytest.mark.parametrize("text", [None, "{"], ids=["missing", "damaged"])
def test_a_tokenizer_that_cannot_be_read_is_left_to_transformers(folder: Path, text: str | None) -> None:
    if text:
        (folder / "tokenizer.json").write_text(text)
    with pytest.raises(ModelError, match=r"has no tokenizer\.json, and transformers can make no|could not be loaded"):
        decoding.load(str(folder), device="cpu", dtype="float32")
