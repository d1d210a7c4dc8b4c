"""Safetensors: which files a folder's weights are in, and how many parameters."""

from collections.abc import Callable
from pathlib import Path

import pytest

from decoding.models.safetensors import count_parameters, weight_files


def test_parameters_are_counted_in_the_files(tiny_folder: Callable[[str], Path]):
    from tests import tiny_models

    network = tiny_models.network("llama")
    assert count_parameters(tiny_folder("llama")) == sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    "content",
    [b"", b"\x05", b"\xff" * 64, (2).to_bytes(8, "little") + b"[]", (9).to_bytes(8, "little") + b'{"a": 1}\n'],
)
def test_unreadable_files_count_no_parameters(tmp_path: Path, content: bytes):
    (tmp_path / "model.safetensors").write_bytes(content)
    assert count_parameters(tmp_path) == 0
    assert count_parameters(tmp_path / "not here") == 0


@pytest.mark.parametrize("index", ["{", "[]", "{}", '{"weight_map": {"w": 1}}', '{"weight_map": {"w": "../w"}}'])
def test_an_index_that_is_none_counts_no_parameters(tmp_path: Path, index: str):
    (tmp_path / "model.safetensors.index.json").write_text(index)
    assert count_parameters(tmp_path) == 0
    with pytest.raises(ValueError, match="its index"):
        weight_files(tmp_path)


def test_only_loaded_tensors_are_counted(tmp_path: Path):
    """Mistral's folders hold the weights a second time, others an adapter beside them; a shard may hold more than the
    index names.
    """
    from safetensors.torch import load_file, save_file

    from tests import tiny_models

    network = tiny_models.network("mistral")
    network.save_pretrained(tmp_path, max_shard_size="20KB")
    (tmp_path / "original").mkdir()
    weights = {name: tensor.contiguous().clone() for name, tensor in network.state_dict().items()}
    for name in ("consolidated", "adapter_model", "onnx", "original/model"):
        save_file(weights, tmp_path / f"{name}.safetensors", metadata={"format": "pt"})
    shard = min(tmp_path.glob("model-*"))
    save_file(load_file(shard) | {"a.classifiers.head": weights["lm_head.weight"]}, shard, metadata={"format": "pt"})
    real = sum(p.numel() for p in network.parameters())
    assert count_parameters(tmp_path) == real
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})  # which is what is loaded then
    assert count_parameters(tmp_path) == real


def test_a_shard_in_a_subfolder_and_a_tensor_in_two_shards_are_counted_as_they_are_loaded(tmp_path: Path):
    from safetensors.torch import load_file, save_file

    from tests import tiny_models

    network = tiny_models.network("llama")
    network.save_pretrained(tmp_path, max_shard_size="20KB")
    first, second, *_ = sorted(tmp_path.glob("model-*.safetensors"))
    save_file(load_file(second) | load_file(first), second, metadata={"format": "pt"})
    (tmp_path / "shards").mkdir()
    first.rename(tmp_path / "shards" / first.name)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(index.read_text("utf-8").replace(first.name, f"shards/{first.name}"), "utf-8")
    assert type(network).from_pretrained(tmp_path).num_parameters() == count_parameters(tmp_path)
