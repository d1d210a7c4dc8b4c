"""GGUF files of every family and block type, as stored and unpacked, against transformers' network over the very
weights that the gguf package reads from them.
"""

from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGUFReader
from transformers import AutoModelForCausalLM
from transformers.utils import logging

from decoding.engines.onnx import graph_cache
from decoding.engines.onnx.graph_cache import build_unpacked
from decoding.engines.torch import gguf_network as gguf_network_module
from decoding.engines.torch.gguf_network import gguf_network
from decoding.errors import ModelError
from decoding.models.gguf import read_gguf
from decoding.models.gguf_blocks import BLOCK_TYPES
from decoding.models.model_paths import entry_of
from decoding.models.progress import no_report
from tests import gguf_files, tiny_models
from tests.engines.onnx.runner import Runner
from tests.engines.onnx.test_families import ROPE_HALF, assert_same, expected, ids
from tests.graphs import graph_without_proof, proven_graph

ALL = tuple(kind.name for kind in BLOCK_TYPES.values())
WIDE = {"hidden_size": 256, "intermediate_size": 256, "num_attention_heads": 4, "initializer_range": 0.1}
GROUPED = WIDE | {"num_key_value_heads": 2, "head_dim": 64}
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": GROUPED,
    "mistral": GROUPED,
    "qwen2": GROUPED,
    "qwen3": GROUPED,
    "gpt2": {"n_embd": 256, "n_layer": 3, "initializer_range": 0.1},
    "gpt_neox": WIDE | ROPE_HALF | {"num_hidden_layers": 3},
    "gemma3_text": GROUPED
    | {"query_pre_attn_scalar": 64, "num_hidden_layers": 7, "layer_types": None}
    | {"tie_word_embeddings": True},
}


def network(family: str, **changes: Any) -> Any:
    logging.disable_progress_bar()
    return tiny_models.network(family, **(FAMILIES[family] | changes)).eval()


def check(path: Path, model: Any, *, unpacked: bool = False) -> None:
    stored = graph_without_proof(path, path.parent)
    runner = Runner(build_unpacked(stored, path.parent) if unpacked else stored)
    text = ids(48)
    found, cache = runner.read(text[:30], positions=range(30))
    after = []
    for token_id in text[30:]:  # the kernels of one row are others
        logits, cache = runner.read([token_id], cache)
        after.append(logits)
    assert_same(np.concatenate([found, *after]), expected(model, text))


@pytest.mark.parametrize("kind", ALL)
def test_every_block_type(tmp_path: Path, kind: str) -> None:
    model = network("llama", tie_word_embeddings=True)
    check(gguf_files.write(tmp_path / "m.gguf", model, [kind]), model)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("unpacked", [False, True], ids=["as stored", "unpacked"])
def test_every_family_in_a_mix_of_all_types(tmp_path: Path, family: str, unpacked: bool) -> None:
    model = network(family)
    path = gguf_files.write(tmp_path / "m.gguf", model, ALL)
    assert {tensor.tensor_type.name for tensor in GGUFReader(path).tensors} == set(ALL)
    check(path, model, unpacked=unpacked)


def test_a_graph_is_no_larger_than_its_weights_however_wide_they_are(tmp_path: Path) -> None:
    model = network("llama", intermediate_size=2**14, num_hidden_layers=1)
    path = gguf_files.write(tmp_path / "m.gguf", model, ["Q4_1"])
    graph = graph_without_proof(path, tmp_path)
    assert (graph.folder / "weights.bin").stat().st_size < 1.5 * path.stat().st_size


def test_tables_of_angles_count_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(graph_cache, "check_disk", lambda _name, needed, _folder: asked.append(needed))
    path = gguf_files.write(tmp_path / "m.gguf", network("llama", max_position_embeddings=2**17), ["Q8_0"])
    graph = graph_without_proof(path, tmp_path)
    tables = 2 * 2**17 * 32 * 4  # cosines and sines of half a head, 64 wide
    assert asked[0] > (graph.folder / "weights.bin").stat().st_size > tables
    assert asked[0] < 3 * path.stat().st_size + tables + 10**7


BIASES: dict[str, tuple[str, dict[str, Any], str]] = {
    "llama, in attention and MLP": ("llama", {"attention_bias": True, "mlp_bias": True}, ""),
    "llama, in the MLP": ("llama", {"mlp_bias": True}, ""),
    "llama, not on the output": ("llama", {"attention_bias": True}, "attn_output.bias"),
    "llama, on the output alone": ("llama", {"attention_bias": True}, "attn_[qkv].bias"),
    "qwen2, none": ("qwen2", {}, "bias"),
    "qwen3, not on the output": ("qwen3", {"attention_bias": True}, "attn_output.bias"),
    "gpt2, not on queries, keys and values": ("gpt2", {}, "attn_qkv.bias"),
    "gpt_neox, not on the output": ("gpt_neox", {}, "attn_output.bias"),
    "gpt_neox, not in the MLP": ("gpt_neox", {}, "ffn_(up|down).bias"),
}
"""The family, and the biases that the file lacks."""


@pytest.mark.parametrize("case", BIASES)
def test_a_file_has_the_biases_that_it_has(tmp_path: Path, case: str) -> None:
    family, changes, lacks = BIASES[case]
    model = network(family, **changes)
    with torch.no_grad():
        for name, bias in model.named_parameters():
            if name.endswith("bias"):
                bias.normal_(std=0.2)
    path = gguf_files.write(tmp_path / "m.gguf", model, ["Q8_0", "Q4_1"], skip=lacks)
    text = ids(40)
    wanted = expected(model, text)
    check(path, model)
    np.testing.assert_allclose(expected(gguf_network(read_gguf(path)), text), wanted, atol=2e-3)


LLAMA3 = {"rope_type": "llama3", "rope_theta": 10_000.0, "factor": 8.0, "low_freq_factor": 1.0}
LLAMA3 |= {"high_freq_factor": 4.0, "original_max_position_embeddings": 16}


def test_llama_3_stretches_its_context_by_divisors(tmp_path: Path) -> None:
    model, plain = (network("llama", rope_parameters=rope) for rope in (LLAMA3, {"rope_theta": 10_000.0}))
    divisors = (plain.model.rotary_emb.inv_freq / model.model.rotary_emb.inv_freq).tolist()
    assert len(set(divisors)) > 4, "nothing is stretched"
    path = gguf_files.write(tmp_path / "m.gguf", model, ["Q8_0"], extra={"rope_freqs.weight": divisors})
    check(path, model)
    theirs = gguf_network(read_gguf(path))
    np.testing.assert_allclose(expected(theirs, ids(48)), expected(model, ids(48)), atol=2e-3)


def test_frequencies_that_are_not_found_are_not_left_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rename(config: Any) -> Any:
        model = AutoModelForCausalLM.from_config(config)
        rotary = model.model.rotary_emb
        rotary.register_buffer("frequencies", rotary.inv_freq)
        del rotary.inv_freq
        return model

    model = network("llama")
    path = gguf_files.write(tmp_path / "m.gguf", model, ["Q8_0"], extra={"rope_freqs.weight": [1.0] * 16 + [8.0] * 16})
    monkeypatch.setattr(gguf_network_module, "AutoModelForCausalLM", SimpleNamespace(from_config=rename))
    with pytest.raises(RuntimeError, match="no rotary frequencies to scale"):
        gguf_network(read_gguf(path))


LINEAR = {"rope_theta": 10_000.0, "rope_type": "linear", "factor": 4.0}
OF_GEMMA = {"full_attention": LINEAR, "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0}}


@pytest.mark.parametrize(
    ("family", "stretched"),
    [
        ("llama", {"rope.scaling.type": "linear", "rope.scaling.factor": 4.0}),
        ("llama", {"rope.scaling.factor": 4.0}),
        ("llama", {"rope.scale_linear": 4.0}),
        ("gpt_neox", {"rope.scaling.factor": 4.0}),
        ("gemma3_text", {"rope.scaling.factor": 4.0}),
    ],
    ids=str,
)
def test_a_stretched_context_by_each_of_its_names(tmp_path: Path, family: str, stretched: dict[str, Any]) -> None:
    model = network(family, rope_parameters=deepcopy(OF_GEMMA if family == "gemma3_text" else LINEAR))
    architecture = {"gpt_neox": "gptneox", "gemma3_text": "gemma3"}.get(family, family)
    facts = {f"{architecture}.{name}": value for name, value in stretched.items()}
    path = gguf_files.write(tmp_path / "m.gguf", model, ["F32"], **facts)
    check(path, model)
    np.testing.assert_allclose(expected(gguf_network(read_gguf(path)), ids(48)), expected(model, ids(48)), atol=1e-3)


def test_a_factor_that_the_file_says_not_to_use(tmp_path: Path) -> None:
    facts = {"llama.rope.scaling.type": "none", "llama.rope.scaling.factor": 4.0}
    check(gguf_files.write(tmp_path / "m.gguf", (model := network("llama")), ["F32"], **facts), model)


def test_which_layers_of_gemma_see_a_window_is_the_files_to_say(tmp_path: Path) -> None:
    kinds = ["sliding_attention", "full_attention"]
    model = network("gemma3_text", layer_types=[kinds[layer % 2] for layer in range(7)])
    pattern = {"gemma3.attention.sliding_window_pattern": 2}
    check(gguf_files.write(tmp_path / "m.gguf", model, ["F32"], **pattern), model)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_torch_rotates_by_the_same_angles_in_16_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    path = gguf_files.write(tmp_path / "m.gguf", (model := network("llama")), ["Q8_0"])
    monkeypatch.setattr(gguf_network_module, "gguf_tokenizer", lambda *_: tiny_models.tokenizer())
    loaded = gguf_network_module.load_gguf(entry_of(str(path)), device="cpu", dtype=dtype, report=no_report).network
    assert str(loaded.dtype) == f"torch.{dtype}"
    assert loaded.model.rotary_emb.inv_freq.tolist() == model.model.rotary_emb.inv_freq.tolist()


@pytest.mark.parametrize("extra", ["blk.0.attn_sinks.weight", "blk.9.attn_norm.weight"])
def test_a_tensor_without_a_place_is_named_whatever_computes(tmp_path: Path, extra: str) -> None:
    path = gguf_files.write(tmp_path / "m.gguf", network("llama"), ["Q8_0"], extra={extra: [1.0]})
    for load in (lambda source: gguf_network(read_gguf(source)), lambda source: proven_graph(source, tmp_path)):
        with pytest.raises(ModelError, match=f"m.gguf has the tensor {extra}, which is no part of the model that it"):
            load(path)


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    path = gguf_files.write(tmp_path / "m.gguf", network("llama"), ["Q8_0"], skip="blk.1.attn_k.weight")
    with pytest.raises(ModelError, match=r"^m\.gguf lacks the tensor blk\.1\.attn_k\.weight\. Download it again"):
        proven_graph(path, tmp_path)
    assert not [one for one in (tmp_path / "graphs").iterdir() if one.is_dir()], "something half-made was left"


@pytest.mark.parametrize("kind", ALL)
def test_weights_that_are_no_numbers_are_a_damaged_file(tmp_path: Path, kind: str) -> None:
    path = gguf_files.write(tmp_path / "m.gguf", network("llama", tie_word_embeddings=True), [kind])
    for name in ("blk.1.ffn_down.weight", "blk.1.attn_norm.weight"):
        tensor = next(one for one in GGUFReader(path).tensors if one.name == name)
        place, before = int(tensor.data_offset), path.read_bytes()
        path.write_bytes(before[:place] + b"\xff" * 256 + before[place + 256 :])
        with pytest.raises(ModelError, match=f"m.gguf is cut short or damaged: {name} is NaN or infinite somewhere"):
            proven_graph(path, tmp_path)
        path.write_bytes(before)


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "gemma3_text"])
def test_a_part_of_each_head_is_turned_by_gpt_neox_alone(tmp_path: Path, family: str) -> None:
    """transformers' networks of the others turn whole heads, whatever the file says."""
    said = {f"{family.removesuffix('_text')}.rope.dimension_count": 32}
    path = gguf_files.write(tmp_path / "m.gguf", network(family), ["Q8_0"], **said)
    with pytest.raises(ModelError, match=r"^m\.gguf says rope\.dimension_count = 32, and such a model is not computed"):
        gguf_network(read_gguf(path))


def test_a_shape_that_the_facts_do_not_have(tmp_path: Path) -> None:
    path = gguf_files.write(tmp_path / "m.gguf", network("llama"), ["Q8_0"], **{"llama.feed_forward_length": 512})
    with pytest.raises(ModelError, match=r"m\.gguf has blk\.0\.ffn_\w+\.weight in the shape .256, 256., and its model"):
        proven_graph(path, tmp_path)
