"""GGUF files of every family and block type, as stored and unpacked, against transformers' network over the very
weights that the gguf package reads from them.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFReader
from transformers.utils import logging

from decoding.engines.onnx.graph_cache import ensure_graph
from decoding.errors import ModelError
from decoding.models.gguf_blocks import BLOCK_TYPES
from tests import gguf_files, tiny_models
from tests.engines.onnx.runner import Runner
from tests.engines.onnx.test_families import ROPE_HALF, assert_same, expected, ids

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
    runner = Runner(ensure_graph(path, unpacked=unpacked, folder=path.parent / "graphs", proof=None))
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


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    path = gguf_files.write(tmp_path / "m.gguf", network("llama"), ["Q8_0"], skip="blk.1.attn_k.weight")
    with pytest.raises(ModelError, match=r"^m\.gguf lacks the tensor blk\.1\.attn_k\.weight\. Download it again"):
        ensure_graph(path, folder=tmp_path)
    assert not [one for one in tmp_path.iterdir() if one.is_dir()], "something half-made was left"


def test_a_shape_that_the_facts_do_not_have(tmp_path: Path) -> None:
    path = gguf_files.write(tmp_path / "m.gguf", network("llama"), ["Q8_0"], **{"llama.feed_forward_length": 512})
    with pytest.raises(ModelError, match=r"m\.gguf has blk\.0\.ffn_\w+\.weight in the shape .256, 256., and its model"):
        ensure_graph(path, folder=tmp_path)
