"""Direct products say what plain ones say, on tiny models of many architectures and on the real starter."""

import json
from collections.abc import Callable
from math import exp
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from decoding.engines.torch import direct
from decoding.engines.torch.engine import LocalEngine, best
from decoding.engines.torch.softmax import read_scores
from decoding.models.loading import load_model
from decoding.record.step import StepScores
from tests import tiny_models

Folder = Callable[[str], Path]
IDS = list(b"Transformers are the")
STEPS = 24
REFERENCE = Path(__file__).parents[2] / "reference" / "starter"


@pytest.fixture(autouse=True)
def _no_layer_is_too_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "SMALLEST", 0)


def check_same(ours: list[StepScores], plain: list[StepScores]) -> None:
    assert len(ours) == len(plain)
    for a, b in zip(ours, plain, strict=True):
        assert a.token_ids[0] == b.token_ids[0]
        assert list(map(exp, a.logprobs)) == pytest.approx(list(map(exp, b.logprobs)), abs=1e-5)


def direct_layers(network: nn.Module) -> list[direct.DirectLinear]:
    return [module for module in network.modules() if isinstance(module, direct.DirectLinear)]


@pytest.mark.parametrize("architecture", tiny_models.ARCHITECTURES)
def test_direct_is_plain_is_generate(tiny_folder: Folder, architecture: str) -> None:
    plain = LocalEngine(load_model(str(tiny_folder(architecture)), device="cpu", dtype="float32"))
    engine = best(load_model(str(tiny_folder(architecture)), device="cpu", dtype="float32"))
    expected = list(plain.steps(IDS, max_new_tokens=STEPS, top_k=5))
    assert len({readout.token_ids[0] for readout in expected}) >= 5  # or any two would agree
    check_same(list(engine.steps(IDS, max_new_tokens=STEPS, top_k=5)), expected)
    network: Any = engine.network
    output = network.generate(
        torch.tensor([IDS]),
        attention_mask=torch.ones(1, len(IDS), dtype=torch.long),
        max_new_tokens=STEPS,
        do_sample=False,
        output_logits=True,
        return_dict_in_generate=True,
        pad_token_id=0,
    )
    check_same([read_scores(logits[0], 5) for logits in output.logits], expected)
    written = [readout.token_ids[0] for readout in expected]
    scores = list(engine.score(IDS, written, top_k=5))
    assert all(readout.picked and readout.picked.rank == 0 for readout in scores)


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gpt_neox", "gemma3_text", "mistral", "qwen3"])
def test_what_goes_direct(tiny_folder: Folder, architecture: str) -> None:
    engine = best(load_model(str(tiny_folder(architecture)), device="cpu", dtype="float32"))
    assert direct_layers(engine.network)
    left = [module for module in engine.network.modules() if isinstance(module, nn.Linear)]
    assert left == []
    assert direct.NAME in engine.info.engine
    assert engine.network.device.type == "cpu"
    assert engine.network.dtype == torch.float32


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_a_weight_stands_once_and_is_what_it_was(architecture: str) -> None:
    network: Any = tiny_models.network(architecture, tie_word_embeddings=True).eval()
    before = {name: weights.clone() for name, weights in network.state_dict().items()}
    assert direct.go_direct(network)
    after = network.state_dict()
    assert all(torch.equal(weights, before[name]) for name, weights in after.items() if name in before)
    stacked = sorted(before.keys() - after.keys())
    assert bool(stacked) == (architecture == "llama")  # what is joined
    head, words = network.get_output_embeddings(), network.get_input_embeddings()
    assert head.weight is words.weight
    assert head.columns.ctypes.data == words.weight.data_ptr()
    pieces = {weights.untyped_storage().data_ptr() for weights in network.parameters()}
    assert len(pieces) == 1


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_other_dtypes_are_left_as_they_are(tiny_folder: Folder, dtype: str) -> None:
    engine = best(load_model(str(tiny_folder("llama")), device="cpu", dtype=dtype))
    assert not direct_layers(engine.network)
    assert direct.NAME not in engine.info.engine


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
@pytest.mark.parametrize("fault", ["another answer", "it raises"])
def test_a_network_that_would_say_something_else_is_put_back(
    monkeypatch: pytest.MonkeyPatch, architecture: str, fault: str
) -> None:
    network = tiny_models.network(architecture, tie_word_embeddings=True).eval()
    before = {name: weights.clone() for name, weights in network.state_dict().items()}
    shapes = {name: type(module) for name, module in network.named_modules()}
    seen = []

    def broken(layer: direct.DirectLinear, rows: torch.Tensor) -> torch.Tensor:
        seen.append(layer)
        if fault == "it raises":
            raise AttributeError("no weight")
        return layer.plain()(rows) + 1

    monkeypatch.setattr(direct.DirectLinear, "forward", broken)
    assert not direct.go_direct(network)
    assert seen
    after = network.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert {name: type(module) for name, module in network.named_modules()} == shapes
    assert network.get_output_embeddings().weight is network.get_input_embeddings().weight


def test_small_layers_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "SMALLEST", 32 * tiny_models.VOCABULARY)
    network = tiny_models.network("llama").eval()
    assert direct.go_direct(network)
    assert [type(module) for module in direct_layers(network)] == [direct.DirectLinear]  # the last one alone
    assert network.get_output_embeddings() is direct_layers(network)[0]


def test_without_onednn_the_way_is_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    network = tiny_models.network("llama").eval()
    assert not direct.go_direct(network)
    assert not direct_layers(network)


def test_a_branch_costs_only_its_own_steps_here_too(tiny_folder: Folder) -> None:
    engine = best(load_model(str(tiny_folder("llama")), device="cpu", dtype="float32"))
    run = list(engine.steps(IDS, max_new_tokens=12, top_k=5))
    forced = {6: run[6].token_ids[1]}
    fresh = best(load_model(str(tiny_folder("llama")), device="cpu", dtype="float32"))
    lengths: list[int] = []
    engine.network.register_forward_pre_hook(
        lambda _, __, options: lengths.append(options["input_ids"].shape[1]), with_kwargs=True
    )
    ours = list(engine.steps(IDS, max_new_tokens=12, top_k=5, forced=forced))
    assert lengths == [1] * 5  # steps 7 to 11
    check_same(ours, list(fresh.steps(IDS, max_new_tokens=12, top_k=5, forced=forced)))


@pytest.mark.parametrize("name", ["transformers_are_the", "korean"])
def test_the_starters_way_agrees_with_the_reference(starter: LocalEngine, name: str) -> None:
    assert direct_layers(starter.network)  # what the page uses
    expected: dict[str, Any] = json.loads((REFERENCE / f"{name}.json").read_text("utf-8"))
    steps, prompt = expected["steps"][:12], expected["prompt_token_ids"]
    readouts = list(starter.steps(prompt, max_new_tokens=len(steps), top_k=len(steps[0]["choices"])))
    for readout, reference in zip(readouts, steps, strict=True):
        assert list(readout.token_ids) == [choice["token_id"] for choice in reference["choices"]]
        assert list(map(exp, readout.logprobs)) == pytest.approx([c["prob"] for c in reference["choices"]], abs=1e-5)
