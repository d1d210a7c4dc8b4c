"""A pass over one id by the lean way says what the network says, and leaves a cache that everybody else can use."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from transformers import DynamicCache

from decoding.engines.torch import direct, families, lean
from decoding.engines.torch.engine import LocalEngine, best
from decoding.engines.torch.names import cache_name
from decoding.models.loading import load_model
from decoding.record.step import StepScores
from tests import tiny_models
from tests.engines.torch.test_direct import IDS, Folder, check_same

KNOWN = {"gpt2": {}, "llama": {}, "llama, tied": {}, "qwen3": {}, "qwen2": {}, "mistral": {"sliding_window": None}}
STEPS = 2 * lean.SPARE + 6
"""So many that a cache is laid out again, twice."""


@pytest.fixture(autouse=True)
def _no_layer_is_too_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "SMALLEST", 0)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The positions that were read the lean way."""
    seen: list[int] = []
    read_one = lean.read_one

    def counted(decoder: Any, token_id: int, cache: Any) -> Any:
        seen.append(cache.get_seq_length())
        return read_one(decoder, token_id, cache)

    monkeypatch.setattr(lean, "read_one", counted)
    return seen


def network_of(architecture: str, **changes: Any) -> Any:
    return tiny_models.network(architecture, **KNOWN.get(architecture, {}), **changes).eval()


def lightened(architecture: str, **changes: Any) -> Any:
    network = network_of(architecture, **changes)
    assert direct.go_direct(network)
    assert lean.lighten(network)
    return network


@torch.inference_mode()
def logits_of(network: Any, pieces: list[list[int]], cache: Any = None) -> tuple[torch.Tensor, Any]:
    """The logits after the last piece, and the cache."""
    name = cache_name(network)
    for piece in pieces:
        options = {} if cache is None else {name: cache}
        output = network(input_ids=torch.tensor([piece]), use_cache=True, logits_to_keep=1, **options)
        cache = getattr(output, str(name))
    return output.logits[0, -1], cache


@pytest.mark.parametrize("architecture", KNOWN)
def test_each_family_says_what_its_network_says(architecture: str, passes: list[int]) -> None:
    plain, network = network_of(architecture), lightened(architecture)
    passes.clear()
    cache = plain_cache = None
    for piece in [IDS[:3], *([n] for n in IDS[3:8]), IDS[8:11], *([n] for n in IDS[11:])]:
        expected, plain_cache = logits_of(plain, [piece], plain_cache)
        logits, cache = logits_of(network, [piece], cache)
        assert torch.allclose(logits, expected, atol=1e-5 * float(expected.abs().max()))
        assert cache.get_seq_length() == plain_cache.get_seq_length()
    assert len(passes) == len(IDS) - 6
    for mine, theirs in zip(cache.layers, plain_cache.layers, strict=True):
        assert torch.allclose(mine.keys, theirs.keys, atol=1e-4)
        assert torch.allclose(mine.values, theirs.values, atol=1e-4)


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "qwen3"])
def test_a_long_run_is_the_plain_run(tiny_folder: Folder, architecture: str, passes: list[int]) -> None:
    plain = LocalEngine(load_model(str(tiny_folder(architecture)), device="cpu", dtype="float32"))
    engine = best(load_model(str(tiny_folder(architecture)), device="cpu", dtype="float32"))
    assert engine.info.engine.endswith(f"{direct.NAME}, {lean.NAME}")
    passes.clear()
    run = list(engine.steps(IDS, max_new_tokens=STEPS, top_k=5))
    check_same(run, list(plain.steps(IDS, max_new_tokens=STEPS, top_k=5)))
    assert len({readout.token_ids[0] for readout in run}) >= 5
    assert len(passes) == len(run) - 1
    forced = {4: run[4].token_ids[1]}
    check_same(branch(engine, forced), branch(plain, forced))
    check_same(list(engine.steps(IDS, max_new_tokens=STEPS, top_k=5)), run)  # the branch has changed nothing


def branch(engine: LocalEngine, forced: dict[int, int]) -> list[StepScores]:
    return list(engine.steps(IDS, max_new_tokens=12, top_k=5, forced=forced))


def test_a_copy_of_a_cache_goes_its_own_way() -> None:
    network = lightened("llama")
    _, cache = logits_of(network, [IDS[:4], [IDS[4]]])
    other = copy.deepcopy(cache)
    expected, _ = logits_of(network, [[7], [8]], copy.deepcopy(cache))
    logits_of(network, [[9], [10]], cache)
    logits, _ = logits_of(network, [[7], [8]], other)
    assert torch.equal(logits, expected)


def test_generate_asks_the_network_itself(passes: list[int]) -> None:
    network = lightened("llama")
    passes.clear()
    network.generate(torch.tensor([IDS]), attention_mask=torch.ones(1, len(IDS)), max_new_tokens=4, do_sample=False)
    assert passes == []


@pytest.mark.parametrize("architecture", ["gemma3_text", "gpt_neox", "mistral"])
def test_other_families_and_windows_keep_their_own_way(tiny_folder: Folder, architecture: str) -> None:
    engine = best(load_model(str(tiny_folder(architecture)), device="cpu", dtype="float32"))
    assert engine.info.engine.endswith(direct.NAME)


def test_a_network_that_would_say_something_else_keeps_its_own_way(monkeypatch: pytest.MonkeyPatch) -> None:
    network = network_of("llama")
    assert direct.go_direct(network)
    forward = network.forward
    monkeypatch.setattr(families, "_rms", lambda norm: lambda x: x)
    assert not lean.lighten(network)
    assert network.forward == forward


def test_without_direct_layers_it_is_not_known() -> None:
    assert families.decoder_of(network_of("llama")) is None


def test_angles_that_depend_on_the_length_are_not_known() -> None:
    scaled = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    network = network_of("llama", rope_parameters=scaled)
    assert direct.go_direct(network)
    assert families.decoder_of(network) is None


def test_a_batch_and_a_mask_are_the_networks_own(passes: list[int]) -> None:
    network = lightened("llama")
    passes.clear()
    _, cache = logits_of(network, [IDS[:4]])
    name = str(cache_name(network))
    with torch.inference_mode():
        network(input_ids=torch.tensor([[5]]), attention_mask=torch.ones(1, 5), use_cache=True, **{name: cache})
        two = DynamicCache(config=network.config)
        network(input_ids=torch.tensor([IDS[:4]] * 2), use_cache=True, **{name: two})
        network(input_ids=torch.tensor([[5], [6]]), use_cache=True, **{name: two})
    assert passes == []
    assert cache.get_seq_length() == two.get_seq_length() == 5


def test_a_full_room_is_laid_out_again_and_nothing_is_lost() -> None:
    network = lightened("gpt2")
    _, cache = logits_of(network, [IDS[:2], [1]])
    room: Any = cache.lean_room
    before = room.keys[:, :, :3].copy()
    logits_of(network, [[n % 50] for n in range(lean.SPARE)], cache)
    assert cache.lean_room is not room
    assert np.array_equal(cache.lean_room.keys[:, :, :3], before)
