"""Safetensors of every dtype, in one file and in shards; and configurations that no graph is written for."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from decoding.engines.onnx.graph_cache import VERSION
from decoding.models.checksums import write_checksums
from decoding.models.spec import NoGraphError
from decoding.models.spec_config import spec_of_config
from tests.engines.onnx import test_families
from tests.engines.onnx.runner import Runner
from tests.graphs import graph_without_proof


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("shard", ["1GB", "60KB"])
@pytest.mark.parametrize("case", ["gpt2", "qwen3, tied"])
def test_every_dtype_in_one_file_and_in_shards(tmp_path: Path, dtype: torch.dtype, shard: str, case: str) -> None:
    model = test_families.network(case).to(dtype)
    model.save_pretrained(tmp_path / "m", max_shard_size=shard)
    assert (len(list((tmp_path / "m").glob("*.safetensors"))) > 1) == (shard == "60KB")
    files = graph_without_proof(tmp_path / "m", tmp_path)
    copied = (files.folder / "weights.bin").stat().st_size
    assert (copied > 80_000) == (dtype != torch.float32), "float32 stays where it is, and others are made float32"
    whole = AutoModelForCausalLM.from_pretrained(tmp_path / "m", dtype=torch.float32).eval()  # rotary embeddings too
    text = test_families.ids(60)
    found, _ = Runner(files).read(text, positions=range(60))
    test_families.assert_same(found, test_families.expected(whole, text))


@pytest.mark.parametrize("case", ["gpt2", "qwen3, tied"])
@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside others of their names"])
def test_shards_in_folders(tmp_path: Path, case: str, beside: bool) -> None:
    """The files beside them hold zeros, and no index names them."""
    model, folder = test_families.network(case), tmp_path / "m"
    model.save_pretrained(folder, max_shard_size="60KB")
    index = folder / "model.safetensors.index.json"
    said = json.loads(index.read_text("utf-8"))
    for number, shard in enumerate(sorted(folder.glob("*.safetensors"))):
        (folder / f"part {number}").mkdir()
        if beside:
            save_file({name: torch.zeros_like(one) for name, one in load_file(shard).items()}, tmp_path / "zeros")
        shard.rename(folder / f"part {number}" / shard.name)
        if beside:
            (tmp_path / "zeros").rename(shard)
        places = said["weight_map"].items()
        said["weight_map"] = {k: f"part {number}/{v}" if v == shard.name else v for k, v in places}
    index.write_text(json.dumps(said), "utf-8")
    text = test_families.ids(60)
    files = graph_without_proof(folder, tmp_path)
    found, _ = Runner(files).read(text, positions=range(60))
    test_families.assert_same(found, test_families.expected(model, text))
    folder = folder.rename(tmp_path / "moved")
    (folder / "part 0").rename(folder / "first")
    index = folder / "model.safetensors.index.json"
    index.write_text(index.read_text("utf-8").replace("part 0/", "first/"), "utf-8")
    again = graph_without_proof(folder, tmp_path)
    np.testing.assert_array_equal(Runner(again).read(text, positions=range(60))[0], found)


REFUSED: dict[str, dict[str, Any]] = {
    "rotary embedding is stretched by yarn": {
        "rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 2.0}
    },
    "low_freq_factor is not below its high_freq_factor": {
        "rope_parameters": test_families.ROPE_LLAMA3 | {"high_freq_factor": 1.0}
    },
    "says quantization_config, which is not known": {"quantization_config": {"bits": 4}},
    "says num_local_experts, which is not known": {"num_local_experts": 4},
    "hidden_act is relu": {"hidden_act": "relu"},
    "is_causal is False": {"is_causal": False},  # an encoder
    "its heads have a width of 16777216": {"head_dim": 2**24},
    "family mixtral": {"model_type": "mixtral"},
    "its rope_theta is 1e-38": {"rope_parameters": {"rope_type": "default", "rope_theta": 1e-38}},
    "lack model.layers.0.self_attn.q_proj.bias": {"attention_bias": True},
    "has the shape": {"intermediate_size": 97},
}


@pytest.mark.parametrize("reason", REFUSED)
def test_unknown_configurations_are_refused_and_leave_no_files(tmp_path: Path, reason: str) -> None:
    test_families.network("llama").save_pretrained(tmp_path / "m")
    path = tmp_path / "m" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | REFUSED[reason]), "utf-8")
    with pytest.raises(NoGraphError, match=reason):
        graph_without_proof(tmp_path / "m", tmp_path)
    assert not [one for one in (tmp_path / "graphs").iterdir() if one.is_dir()]


def test_weights_that_cannot_be_read_or_are_stored_in_another_way(tmp_path: Path) -> None:
    def reason() -> str:
        with pytest.raises(NoGraphError) as refused:
            graph_without_proof(tmp_path / "m", tmp_path)
        return str(refused.value)

    test_families.network("llama").double().save_pretrained(tmp_path / "m")
    assert reason() == "its weights are stored as F64"
    (tmp_path / "m" / "model.safetensors").write_bytes(bytes(7))
    assert reason() == "its safetensors cannot be read (model.safetensors is cut)"
    (tmp_path / "m" / "model.safetensors").unlink()
    assert reason() == "its folder holds no safetensors"


def test_an_index_that_names_files_elsewhere_is_refused(tmp_path: Path) -> None:
    test_families.network("llama").save_pretrained(tmp_path / "m", max_shard_size="20KB")
    index = tmp_path / "m" / "model.safetensors.index.json"
    index.write_text(index.read_text("utf-8").replace('"model-', '"../model-'), "utf-8")
    with pytest.raises(NoGraphError, match="its index names files elsewhere"):
        graph_without_proof(tmp_path / "m", tmp_path)


def test_a_short_file_or_other_weights_are_made_anew(tmp_path: Path) -> None:
    test_families.network("llama").save_pretrained(tmp_path / "m")

    def make() -> Path:
        return graph_without_proof(tmp_path / "m", tmp_path).folder

    first = make()
    with (first / "model.onnx").open("r+b") as file:
        file.truncate(100)
    assert make() == first
    assert (first / "model.onnx").stat().st_size > 100
    test_families.network("llama, tied").save_pretrained(tmp_path / "m")
    assert make() != first


def test_graphs_of_an_earlier_version_go_when_another_is_built(tmp_path: Path) -> None:
    def folder_of(name: str) -> Path:
        test_families.network("llama").save_pretrained(tmp_path / name)
        return graph_without_proof(tmp_path / name, tmp_path).folder

    earlier, unnumbered, later, same = map(folder_of, "abcd")
    (earlier / "version").write_text(str(VERSION - 1))
    (unnumbered / "version").unlink()
    (later / "version").write_text(str(VERSION + 1))
    for folder in (earlier, unnumbered, later):
        write_checksums(folder)
    other = folder_of("e")
    assert {path for path in (tmp_path / "graphs").iterdir() if path.is_dir()} == {later, same, other}


def test_other_settings_are_another_graph(tmp_path: Path) -> None:
    """Where a text ends stands beside the weights, and with them in what is kept of a graph."""
    test_families.network("llama").save_pretrained(tmp_path / "m")
    for end in (5, 9):
        (tmp_path / "m" / "generation_config.json").write_text(json.dumps({"eos_token_id": end}), "utf-8")
        spec = graph_without_proof(tmp_path / "m", tmp_path).spec
        assert spec.end_ids == {end}


@pytest.mark.parametrize("heads", [0, 128, -1])
def test_heads_that_have_no_room_in_their_network(tmp_path: Path, heads: int) -> None:
    for case, name in (("gpt2", "n_head"), ("gpt_neox", "num_attention_heads"), ("llama", "num_attention_heads")):
        test_families.network(case).save_pretrained(tmp_path / case)
        path = tmp_path / case / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | {name: heads, "head_dim": None}), "utf-8")
        with pytest.raises(NoGraphError):
            spec_of_config(tmp_path / case, "float32")
