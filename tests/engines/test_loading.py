"""Which way computes a model, what is said about it, and that every way says the same."""

import errno
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from onnxruntime.capi import onnxruntime_pybind11_state as onnxruntime_errors

import decoding
from decoding.engines.local_engine import LocalEngine
from decoding.engines.onnx.network import OnnxNetwork
from decoding.engines.torch.network import TorchNetwork
from decoding.errors import ModelError, RequestError, RoomError
from tests import gguf_files, tiny_models
from tests.machines import give_memory
from tests.tiny_models import VOCABULARY

PROMPT = "Transformers are the"
OPEN = "decoding.engines.onnx.graph_files.GraphFiles.open"
NO_ROOM: Exception = onnxruntime_errors.RuntimeException("Exception during initialization: std::bad_alloc")


def wide_network() -> Any:
    """A tiny network whose heads ONNX Runtime takes."""
    return tiny_models.network("llama", hidden_size=64, intermediate_size=96, head_dim=16)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same kind of model as a GGUF file."""
    path = tmp_path_factory.mktemp("packed") / "packed.gguf"
    return gguf_files.write(path, wide_network(), ["Q8_0"], **gguf_files.byte_tokenizer(VOCABULARY))


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.save(tmp_path_factory.mktemp("wide"), wide_network())


def same(ours: LocalEngine, theirs: LocalEngine, noise: float) -> None:
    one, two = (decoding.trace(engine, PROMPT, max_new_tokens=12, top_k=5) for engine in (ours, theirs))
    assert len({step.picked.token_id for step in one.steps}) > 1
    for step, other in zip(one.steps, two.steps, strict=True):
        assert [c.token_id for c in step.candidates] == [c.token_id for c in other.candidates]
        assert all(
            math.isclose(c.probability, d.probability, abs_tol=noise)
            for c, d in zip(step.candidates, other.candidates, strict=True)
        )


def test_the_starter_goes_from_its_four_bits_to_onnx_runtime() -> None:
    starter = decoding.load("starter", device="cpu")  # of its own: others make the shared one a batched engine's
    assert isinstance(starter.network, OnnxNetwork)
    assert starter.info.engine.startswith("ONNX Runtime 1.")
    assert starter.info.engine.endswith(", four-bit weights, computed in float32")
    assert (starter.info.dtype, starter.info.device) == ("float32", "cpu")
    assert starter.info.why == "cpu was asked for; float32 is exact"
    assert (starter.context_length, starter.end_ids, starter.beginning_id) == (8192, {2}, 1)


def test_torch_computes_it_where_that_is_asked_for(starter: LocalEngine) -> None:
    theirs = decoding.load("starter", device="cpu", engine="torch")
    assert isinstance(theirs.network, TorchNetwork)
    assert theirs.info.engine.startswith("torch ")
    assert theirs.info.why == "cpu was asked for; float32 fits; torch was asked for"
    assert (theirs.context_length, theirs.end_ids, theirs.beginning_id) == (8192, {2}, 1)
    same(starter, theirs, 2e-5)


def test_a_gguf_file_is_a_model(starter: LocalEngine, starter_gguf: Path, tmp_path: Path) -> None:
    copy = tmp_path / "anything.gguf"
    shutil.copy(starter_gguf, copy)
    ours = decoding.load(str(copy), device="cpu")
    assert isinstance(ours.network, OnnxNetwork)
    assert (ours.info.id, ours.info.revision) == (str(copy), "")
    for text in (PROMPT, "<|im_start|>user\n안녕", ""):
        assert ours.vocabulary.encode(text) == starter.vocabulary.encode(text)
    same(ours, starter, 0)


@pytest.mark.parametrize("away", ["as it lies in the Hub's cache", "by its folder"])
def test_a_link_to_a_gguf_file_is_the_file(packed: Path, tmp_path: Path, away: str) -> None:
    blob, link = tmp_path / "blobs" / "0123abcd", tmp_path / "snapshots" / "model.gguf"
    for place in (blob, link):
        place.parent.mkdir()
    shutil.copy(packed, blob if away.startswith("as") else blob.with_name("model.gguf"))
    if away.startswith("as"):
        link.symlink_to("../blobs/0123abcd")
    else:
        link.parent.rmdir()
        link.parent.symlink_to(blob.parent)
    ours = decoding.load(str(link), device="cpu")
    assert isinstance(ours.network, OnnxNetwork)
    assert (ours.info.id, ours.info.why) == (str(link), "cpu was asked for; float32 is exact")
    same(ours, decoding.load(str(packed), device="cpu"), 0)
    assert decoding.agreement(ours, decoding.trace(ours, PROMPT, max_new_tokens=4, top_k=3)).identical


@pytest.mark.parametrize(
    "wrong",
    [{"model": "of tomorrow"}, {"pre": "of tomorrow"}, {"tokens": ["a"] * VOCABULARY}, {"merges": ["no merge"]}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_tokenizer_is_read_before_a_graph_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, Any]
) -> None:
    monkeypatch.setenv("GREEDYSCOPE_CACHE", str(tmp_path / "cache"))
    facts = gguf_files.byte_tokenizer(VOCABULARY) | {f"tokenizer.ggml.{name}": value for name, value in wrong.items()}
    path = gguf_files.write(tmp_path / "m.gguf", wide_network(), ["F32"], **facts)
    with pytest.raises(ModelError, match="token"):
        decoding.load(str(path), device="cpu")
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(("kinds", "has"), [(["F16"], False), (["BF16", "F32"], False), (["F32", "Q8_0"], True)])
def test_only_what_is_quantized_has_float32_weights_for_a_crowd(tmp_path: Path, kinds: list[str], has: bool) -> None:
    path = gguf_files.write(tmp_path / "m.gguf", wide_network(), kinds, **gguf_files.byte_tokenizer(VOCABULARY))
    network = decoding.load(str(path), device="cpu").network
    assert isinstance(network, OnnxNetwork)
    assert (network.float32_session is not None) == has


def test_float32_safetensors_go_to_onnx_runtime(wide: Path) -> None:
    ours, theirs = decoding.load(str(wide), device="cpu"), decoding.load(str(wide), device="cpu", engine="torch")
    assert isinstance(ours.network, OnnxNetwork)
    assert ours.info.engine.endswith(", float32")
    assert ours.network.float32_session is None
    assert ours.network.fewest_rows == 2
    same(ours, theirs, 1e-4)


def test_what_lies_beside_the_weights_takes_no_memory(
    wide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mistral's folders have all weights twice, and fine-tuned ones an adapter."""
    folder = Path(shutil.copytree(wide, tmp_path / "twice"))
    for name in ("consolidated.safetensors", "adapter_model.safetensors"):
        with (folder / name).open("wb") as file:
            file.truncate(10**10)  # of which nothing is written
    give_memory(monkeypatch, 10**9)
    ours = decoding.load(str(folder), device="cpu")
    assert isinstance(ours.network, OnnxNetwork)


def test_sixteen_bits_go_through_transformers(wide: Path) -> None:
    ours = decoding.load(str(wide), device="cpu", dtype="bfloat16")
    assert isinstance(ours.network, TorchNetwork)
    assert ours.info.dtype == "bfloat16"


def test_a_family_without_a_graph_goes_through_transformers_and_the_header_says_so(
    tiny_folder: Callable[[str], Path],
) -> None:
    ours = decoding.load(str(tiny_folder("mamba")), device="cpu")
    assert isinstance(ours.network, TorchNetwork)
    assert ours.info.why == (
        "cpu was asked for; float32 fits; transformers computes it, because ONNX Runtime has no proven graph of it"
    )


def test_no_such_engine() -> None:
    said = 'There is no engine "jax": choose one of auto, torch. For a vLLM server, call decoding.connect(address).'
    with pytest.raises(RequestError, match=f"^{re.escape(said)}$"):
        decoding.load("starter", engine="jax")


def test_a_graph_that_was_changed_is_refused_and_made_anew(
    wide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GREEDYSCOPE_CACHE", str(tmp_path))
    network = wide_network().bfloat16()  # so that there are weights of the graph's own
    source = str(tiny_models.save(tmp_path / "model", network))
    decoding.load(source, device="cpu")
    (weights,) = (tmp_path / "graphs").rglob("weights.bin")
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(data)
    with pytest.raises(ModelError, match=r"was changed: weights\.bin is not as it was written\. Try again to make it"):
        decoding.load(source, device="cpu")
    assert decoding.load(source, device="cpu").info.engine.startswith("ONNX Runtime")
    assert weights.read_bytes() != data


@pytest.mark.parametrize("error", [MemoryError("Unable to allocate 2.00 GiB"), OSError(errno.ENOMEM, "no"), NO_ROOM])
@pytest.mark.parametrize("place", ["decoding.engines.onnx.graph_builder.GraphBuilder.constant", OPEN])
def test_memory_that_ends_while_a_model_loads_is_one_sentence(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, error: Exception
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setenv("GREEDYSCOPE_CACHE", str(tmp_path))
    monkeypatch.setattr(place, fail)
    with pytest.raises(RoomError, match=r"packed\.gguf did not fit into the free memory after all\. Choose a smaller"):
        decoding.load(str(packed), device="cpu")


@pytest.mark.parametrize("happens", ["replaced", "deleted"])
def test_a_file_that_is_another_since_it_was_loaded_proves_nothing(packed: Path, tmp_path: Path, happens: str) -> None:
    path = Path(shutil.copy2(packed, tmp_path / "m.gguf"))
    model = decoding.load(str(path), device="cpu")
    run = decoding.trace(model, PROMPT, max_new_tokens=4, top_k=2)
    path.unlink()
    if happens == "replaced":
        gguf_files.write(path, wide_network(), ["Q4_0"], **gguf_files.byte_tokenizer(VOCABULARY))
    with pytest.raises(ModelError, match=r"^The files of .*m\.gguf have changed since they were loaded"):
        decoding.agreement(model, run)
