"""What refuses to load: each in one clear sentence."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel

import decoding
from decoding.errors import ModelError, RequestError
from decoding.models.catalogue import CATALOGUE
from tests import tiny_models

Folder = Callable[[str], Path]
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


@pytest.mark.parametrize(
    "name", ["nope", "", "/", "~nobody-of-this-name/x", "a" * 5000, "\0", "../..", "<b>", "org/evil"]
)
def test_a_name_that_is_not_offered(name: str) -> None:
    with pytest.raises(RequestError) as refused:
        decoding.load(name)
    assert refused.value.field == "model"
    assert str(refused.value) == (
        f'"{name}" is not a model to choose from: choose one of {", ".join(CATALOGUE)}, '
        "a GGUF file, or a folder that holds a config.json."
    )


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
    assert FILES in refusal(llama)
    assert not (llama / "sprung").exists()


def test_whole_pickled_weights_are_not_opened_either(llama: Path) -> None:
    torch.save(load_file(llama / "model.safetensors"), llama / "pytorch_model.bin")
    (llama / "model.safetensors").unlink()
    assert FILES in refusal(llama)


def test_a_weight_is_missing(llama: Path) -> None:
    weights = load_file(llama / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, llama / "model.safetensors", metadata={"format": "pt"})
    assert refusal(llama) == (
        "could not be loaded: its files lack weights, for example model.layers.1.mlp.up_proj.weight."
    )


def test_a_weight_has_another_shape(llama: Path) -> None:
    weights = load_file(llama / "model.safetensors")
    save_file(weights | {"model.norm.weight": torch.ones(7)}, llama / "model.safetensors", metadata={"format": "pt"})
    assert FILES in refusal(llama)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
@pytest.mark.parametrize("content", [b"", b"{}", b"x" * 100, None], ids=["empty", "braces", "garbage", "half"])
def test_damaged_files(llama: Path, name: str, content: bytes | None) -> None:
    whole = (llama / name).read_bytes()
    (llama / name).write_bytes(whole[: len(whole) // 2] if content is None else content)
    assert FILES in refusal(llama)


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
