"""What refuses to load: each in one clear sentence."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel

import decoding
from decoding.errors import ModelError, RequestError
from decoding.models.catalogue import CATALOGUE, Entry
from decoding.models.loading import load_model, load_without_weights
from decoding.models.spec_config import spec_of_config
from tests import tiny_models
from tests.machines import give_memory

Folder = Callable[[str], Path]
ROOT = Path(__file__).resolve().parents[2]
FILES = "could not be loaded. Its files may be missing or damaged, or they are not a causal language model "


@pytest.fixture
def llama(tiny_folder: Folder, tmp_path: Path) -> Path:
    """A folder of our own to damage."""
    return Path(shutil.copytree(tiny_folder("llama"), tmp_path / "llama"))


def refusal(folder: Path) -> str:
    with pytest.raises(ModelError) as refused:
        decoding.load(str(folder), device="cpu")
    assert refused.value.field == "model"
    sentence = str(refused.value)
    assert sentence.startswith(str(folder))
    assert "\n" not in sentence
    return sentence.removeprefix(f"{folder} ")


# ---- what is asked


@pytest.mark.parametrize("name", ["nope", "", "a" * 5000, "\0", "<b>"])
def test_a_name_that_is_not_offered(name: str) -> None:
    with pytest.raises(RequestError) as refused:
        decoding.load(name)
    assert refused.value.field == "model"
    assert str(refused.value) == (
        f'"{name}" is not a model to choose from: choose one of {", ".join(CATALOGUE)}, '
        "a GGUF file, or a folder that holds a config.json."
    )


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("/", "The folder / holds no config.json, so it is no model."),
        ("../..", "The folder ../.. holds no config.json, so it is no model."),
        ("README.md", "The file README.md does not end in .gguf."),
        ("missing.gguf", "There is no file or folder missing.gguf. Check its path; a model of the Hub is written hub:"),
        ("~nobody-of-this-name/x", "There is no file or folder ~nobody-of-this-name/x."),
        ("org/evil", "There is no file or folder org/evil."),
        ("hub:org", '"hub:org" is no repository: write hub:owner/name, or hub:owner/name@revision.'),
    ],
)
def test_what_is_wrong_with_a_path_is_said(name: str, sentence: str) -> None:
    with pytest.raises(RequestError) as refused:
        decoding.load(name)
    assert str(refused.value).startswith(sentence)


def test_a_dangling_link_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").symlink_to(tmp_path / "gone")
    with pytest.raises(RequestError, match="There is no file or folder"):
        decoding.load(tmp_path / "model.gguf")


# ---- what is found


def test_no_weights(llama: Path) -> None:
    (llama / "model.safetensors").unlink()
    assert refusal(llama).startswith(FILES + "in safetensors. The loader said: Error no file named model.safetensors")


def test_pickled_weights_are_not_opened(llama: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return Path.touch, (llama / "sprung",)

    (llama / "model.safetensors").unlink()
    torch.save({"trap": Trap()}, llama / "pytorch_model.bin")
    assert FILES in refusal(llama)
    assert not (llama / "sprung").exists()


def test_a_model_that_brings_its_own_code(llama: Path) -> None:
    config = json.loads((llama / "config.json").read_text("utf-8"))
    config |= {"model_type": "evil", "auto_map": dict.fromkeys(("AutoConfig", "AutoModelForCausalLM"), "evil.Evil")}
    (llama / "config.json").write_text(json.dumps(config), "utf-8")
    (llama / "evil.py").write_text(f"import pathlib; pathlib.Path({str(llama / 'sprung')!r}).touch()", "utf-8")
    assert refusal(llama).startswith("brings code of its own, and none is run here.")
    assert not (llama / "sprung").exists()


def test_whole_pickled_weights_are_not_opened_either(llama: Path) -> None:
    torch.save(load_file(llama / "model.safetensors"), llama / "pytorch_model.bin")
    (llama / "model.safetensors").unlink()
    assert FILES in refusal(llama)


@pytest.mark.parametrize("other", ["a link to nowhere", "a folder"])
def test_weights_that_cannot_be_opened(llama: Path, other: str) -> None:
    weights = llama / "model.safetensors"
    weights.unlink()
    if other == "a folder":
        weights.mkdir()
    else:
        weights.symlink_to(llama / "blobs" / "gone")
    with pytest.raises(ModelError) as refused:
        decoding.load(llama, device="cpu")
    reason = {"a folder": "Is a directory"}.get(other, "No such file or directory")
    assert str(refused.value) == (
        f"The files of llama cannot be read (model.safetensors: {reason}). Download it again, or choose another model."
    )


@pytest.mark.parametrize(
    "name", ["config.json", "generation_config.json", "tokenizer_config.json", "model.safetensors.index.json"]
)
def test_a_file_of_json_that_is_nested_too_deeply(llama: Path, name: str) -> None:
    if name.startswith("model"):
        (llama / "model.safetensors").unlink()
    (llama / name).write_text('{"weight_map": ' + "[" * 200_000 + "]" * 200_000 + "}")
    assert refusal(llama).startswith(FILES)


@pytest.mark.parametrize("dtype", [["F32"], {}, None, 4])
def test_a_header_that_is_nested_or_has_no_types(llama: Path, dtype: object) -> None:
    weights = llama / "model.safetensors"
    raw = weights.read_bytes()
    end = 8 + int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:end])
    header["lm_head.weight"]["dtype"] = dtype
    for changed in (json.dumps(header).encode(), b"[" * 200_000 + b"]" * 200_000):
        weights.write_bytes(len(changed).to_bytes(8, "little") + changed + raw[end:])
        assert refusal(llama).startswith(FILES)


def test_a_weight_is_missing(llama: Path) -> None:
    weights = load_file(llama / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, llama / "model.safetensors", metadata={"format": "pt"})
    assert refusal(llama) == (
        "could not be loaded: its files lack weights, for example model.layers.1.mlp.up_proj.weight."
    )
    command = [sys.executable, "-m", "decoding", "x", "--model", str(llama)]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stderr
    assert said.startswith(str(llama))
    assert said.count("\n") == 1, "transformers' own table of weights would come first"


def test_a_weight_has_another_shape(llama: Path) -> None:
    weights = load_file(llama / "model.safetensors")
    save_file(weights | {"model.norm.weight": torch.ones(7)}, llama / "model.safetensors", metadata={"format": "pt"})
    assert refusal(llama) == (
        "could not be loaded: its weights have other shapes than its config.json says. Download both again."
    )


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
@pytest.mark.parametrize("content", [b"", b"{}", b"x" * 100, None], ids=["empty", "braces", "garbage", "half"])
def test_damaged_files(llama: Path, name: str, content: bytes | None) -> None:
    whole = (llama / name).read_bytes()
    (llama / name).write_bytes(whole[: len(whole) // 2] if content is None else content)
    assert FILES in refusal(llama)


def say_in_config(folder: Path, **said: Any) -> None:
    config = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps(config | said), "utf-8")


@pytest.mark.parametrize(
    ("field", "method"),
    [
        ("quantization_config", {"quant_method": "unheard"}),
        ("quantization_config", {"quant_method": "unheard", "bits": 4}),
        ("compression_config", {"quant_method": "unheard"}),
    ],
    ids=str,
)
def test_weights_that_are_packed_in_an_unknown_way(llama: Path, field: str, method: dict[str, Any]) -> None:
    say_in_config(llama, **{field: method})
    assert refusal(llama) == (
        "is quantized in a way that is not known here (unheard), so its weights would be read as something else. "
        "Choose a copy that is not quantized."
    )


@pytest.mark.parametrize("method", [{}, {"bits": 4}, "fp8", {"quant_method": None}], ids=str)
def test_weights_that_are_packed_in_no_way_at_all(llama: Path, method: object) -> None:
    say_in_config(llama, quantization_config=method)
    assert FILES in refusal(llama)


@pytest.mark.parametrize(
    "method",
    [
        {"quant_method": "gptq", "bits": 4, "group_size": 128},
        {"quant_method": "awq", "bits": 4},
        {"quant_method": "bitsandbytes", "load_in_4bit": True},
        {"quant_method": "compressed-tensors"},
    ],
    ids=lambda method: method["quant_method"],
)
def test_weights_that_take_a_library_which_is_not_installed(llama: Path, method: dict[str, Any]) -> None:
    say_in_config(llama, quantization_config=method)
    assert refusal(llama).startswith(
        "needs a library that is not installed here. Install it, or choose a copy that is not quantized. The loader "
    )


@pytest.mark.parametrize(
    ("name", "count", "most"),
    [
        ("num_hidden_layers", 2**31, "2,000"),
        ("num_hidden_layers", 10**7, "2,000"),
        ("num_attention_heads", 2**30, "20,000"),
        ("num_key_value_heads", 2**30, "20,000"),
        ("n_layer", 2**40, "2,000"),
        ("num_local_experts", 2**31, "20,000"),
    ],
)
@pytest.mark.parametrize("is_inside", [False, True], ids=["outside", "inside"])
def test_counts_that_no_model_has_are_refused_before_anything_is_made(
    llama: Path, name: str, count: int, most: str, is_inside: bool
) -> None:
    say_in_config(llama, **({"text_config": {name: count}} if is_inside else {name: count}))
    assert refusal(llama) == (
        f"cannot be loaded: its config.json says {name} = {count}, and at most {most} are read here. The file is "
        "damaged; download it again, or choose another model."
    )


# ---- where a text begins and ends


Ends = tuple[int | None, frozenset[int]]
"""Where a text begins and ends."""
WAYS: dict[str, Callable[[Path], Ends]] = {
    "graph": lambda folder: ends_of(spec_of_config(folder, "float32")),
    "network": lambda folder: ends_of(load_model(str(folder), device="cpu", dtype="float32")),
    "words": lambda folder: ends_of(load_without_weights(Entry(str(folder)))),
}
"""What computes, or has a server compute."""


def ends_of(facts: Any) -> Ends:
    return facts.beginning_id, facts.end_ids


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Callable[[Path], Ends]:
    return WAYS[request.param]


@pytest.fixture
def bare(llama: Path) -> Path:
    """A folder without settings of its own for decoding."""
    (llama / "generation_config.json").unlink()
    return llama


@pytest.mark.parametrize("said", [tiny_models.VOCABULARY, 999_999, 2**32 - 1, -1, None])
def test_a_beginning_that_is_no_id_of_the_model_is_none(
    bare: Path, way: Callable[[Path], Ends], said: int | None
) -> None:
    say_in_config(bare, bos_token_id=said)
    assert way(bare) == (None, frozenset())


@pytest.mark.parametrize(
    ("said", "ends"),
    [(5, {5}), ([5, 9], {5, 9}), ([5, 999_999], {5}), (999_999, set()), (-1, set()), (None, set())],
    ids=str,
)
def test_ends_that_are_no_ids_of_the_model_are_none(
    bare: Path, way: Callable[[Path], Ends], said: object, ends: set[int]
) -> None:
    say_in_config(bare, eos_token_id=said, bos_token_id=7)
    assert way(bare) == (7, ends)


def test_what_a_family_means_where_its_file_does_not_say(bare: Path, way: Callable[[Path], Ends]) -> None:
    config = json.loads((bare / "config.json").read_text("utf-8"))
    for name in ("bos_token_id", "eos_token_id"):
        del config[name]
    (bare / "config.json").write_text(json.dumps(config), "utf-8")
    assert way(bare) == (1, {2})


def test_an_empty_prompt_without_a_beginning_is_refused_in_a_sentence(bare: Path) -> None:
    say_in_config(bare, bos_token_id=999_999)
    model = decoding.load(str(bare), device="cpu")
    with pytest.raises(RequestError) as refused:
        decoding.trace(model, "", max_new_tokens=2, top_k=2)
    assert str(refused.value) == (
        f"The prompt is empty, and {bare} has no beginning-of-text token to start from. Type something."
    )


# ---- what is no causal language model


def saved(folder: Path, architecture: str, **options: Any) -> Path:
    sizes = {"vocab_size": tiny_models.VOCABULARY, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4}
    config = AutoConfig.for_model(architecture, **{**sizes, "intermediate_size": 64, **options})
    return tiny_models.save(folder, AutoModel.from_config(config))


@pytest.mark.parametrize(
    ("architecture", "options", "kind"),
    [
        ("bert", {}, "an encoder model (bert)"),
        ("distilbert", {"dim": 32, "n_layers": 1, "n_heads": 4, "hidden_dim": 64}, "an encoder model (distilbert)"),
        ("t5", {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 1}, "an encoder-decoder model (t5)"),
        ("bart", {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1}, "an encoder-decoder model (bart)"),
    ],
)
def test_encoders_are_refused(tmp_path: Path, architecture: str, options: dict[str, Any], kind: str) -> None:
    folder = saved(tmp_path, architecture, **options)
    assert refusal(folder) == f"is {kind}; greedy decoding needs a causal one."


def test_an_encoder_under_a_decoders_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph of that family would be written for it, and where there is no memory for a proof, used unproved."""
    give_memory(monkeypatch, 10**9)
    network = tiny_models.network("llama", hidden_size=64, intermediate_size=96, head_dim=16)
    folder = tiny_models.save(tmp_path, network)
    say_in_config(folder, is_causal=False)
    assert refusal(folder).startswith("sees the text that follows: when a later token changes")


def test_pictures_are_refused(tmp_path: Path) -> None:
    assert FILES in refusal(saved(tmp_path, "vit", image_size=32))


# ---- what greedy decoding does not need, and what is left out


@pytest.mark.parametrize(
    ("settings", "ends"),
    [
        ({"num_return_sequences": 4}, set()),
        ({"max_new_tokens": 0, "eos_token_id": 7}, {7}),
        ({"cache_implementation": "unheard", "eos_token_id": [7, 9]}, {7, 9}),
        ({"early_stopping": "yes", "temperature": 0.0}, set()),
        ({"suppress_tokens": [3], "forced_eos_token_id": 3}, set()),
        ({"streamer": 1}, set()),
        ({"eos_token_id": -1}, set()),
        ({"eos_token_id": [7, None]}, {7}),
    ],
    ids=str,
)
def test_settings_that_greedy_decoding_does_not_look_at(
    llama: Path, settings: dict[str, object], ends: set[int]
) -> None:
    (llama / "generation_config.json").write_text(json.dumps(settings), "utf-8")
    engine = decoding.load(str(llama), device="cpu")
    assert engine.end_ids == ends
    trace = decoding.trace(engine, "Transformers", max_new_tokens=4, top_k=2)
    assert decoding.agreement(engine, trace).identical
    assert decoding.beam_search(engine, "Transformers", max_new_tokens=3, num_beams=2, top_k=2).steps


def test_an_adapter_beside_a_model_is_not_applied_and_that_is_said(llama: Path) -> None:
    (llama / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA"}), "utf-8")
    why = decoding.load(str(llama), device="cpu").info.why
    assert "; the adapter beside it (adapter_config.json) is not applied" in why


@pytest.mark.parametrize("more", [(), ("config.json", "tokenizer.json")], ids=["alone", "with a configuration"])
def test_an_adapter_alone_is_no_model(llama: Path, more: tuple[str, ...]) -> None:
    for path in llama.iterdir():
        if path.name not in more:
            path.unlink()
    (llama / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA"}), "utf-8")
    assert refusal(llama) == (
        "holds only an adapter (adapter_config.json), not the model that it was trained on. Merge the two and choose "
        "the merged folder, or choose another model."
    )


def test_layers_that_the_configuration_does_not_count_are_named(llama: Path) -> None:
    config = json.loads((llama / "config.json").read_text("utf-8"))
    (llama / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 1}), "utf-8")
    left_out = "weights without a place in this architecture were left out, for example model.layers.1.input_layernorm"
    assert left_out in decoding.load(str(llama), device="cpu").info.why
