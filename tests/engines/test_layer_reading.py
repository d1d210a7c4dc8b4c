"""The logits of every layer against those that transformers' own hidden states give, on every family."""

from typing import Any

import numpy as np
import pytest
import torch

from decoding.engines.onnx.network import OnnxNetwork
from decoding.engines.torch.cached_network import CachedNetwork, CacheMode
from decoding.engines.torch.layer_reading import read_layers
from decoding.errors import RequestError
from tests import tiny_models
from tests.engines.onnx.runner import probabilities
from tests.engines.onnx.test_families import CASES, ids, network
from tests.graphs import graph_without_proof

NOISE = 1e-5
LAST_NORMS = ("norm", "ln_f", "final_layer_norm", "norm_f", "final_norm", "final_layernorm", "ln_out")
"""What families call their last norm."""
WITH_LAYERS = ["gpt2", "llama", "qwen3", "gemma3_text", "mistral", "gpt_neox", "recurrent_gemma"]
WITH_LAYERS += ["gemma2", "phi3", "cohere", "mixtral", "falcon", "opt", "gpt_neo"]
RECURRENT = ["rwkv", "mamba", "mamba2"]
"""Their hidden states begin after the first layer, and the last of them is normed already."""


@torch.inference_mode()
def by_hidden_states(model: Any, token_ids: list[int]) -> Any:
    """The rows of a lens, of a network that reads the whole text: its hidden states, its last norm, its head."""
    output = model(torch.tensor([token_ids]), use_cache=False, output_hidden_states=True)
    base = getattr(model.base_model, "decoder", model.base_model)
    norm = next(getattr(base, name) for name in LAST_NORMS if hasattr(base, name))
    states = [state[0, -1] for state in output.hidden_states[:-1]]
    if model.config.model_type in RECURRENT:
        states = [model.get_input_embeddings()(torch.tensor(token_ids[-1])), *states[:-1]]
    states = torch.stack(states)
    logits = model.get_output_embeddings()(norm(states)) * getattr(model, "logit_scale", 1)
    if cap := getattr(model.config, "final_logit_softcapping", None) or getattr(model.config, "logits_soft_cap", None):
        logits = torch.tanh(logits / cap) * cap
    return torch.cat([logits, output.logits[0, -1:]]).float().numpy()


def hooks(model: Any) -> int:
    return sum(len(one._forward_hooks) + len(one._forward_pre_hooks) for one in model.modules())


def assert_same(found: Any, wanted: Any) -> None:
    assert found.shape == wanted.shape
    largest = np.abs(wanted).max()
    others = np.abs(wanted[:-1] - wanted[-1]).max(-1)
    assert (others > 0.01 * largest).all(), "layers that all say the same prove nothing"
    assert np.abs(found - wanted).max() < NOISE * largest
    assert (found.argmax(-1) == wanted.argmax(-1)).all()
    assert np.abs(probabilities(found) - probabilities(wanted)).max() < NOISE


@pytest.mark.parametrize("case", CASES)
def test_the_graph(case: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    model, folder = network(case), tmp_path_factory.mktemp("model")
    model.save_pretrained(folder)
    ours = OnnxNetwork(graph_without_proof(folder, folder))
    text = ids(40)
    wanted = by_hidden_states(model, text)
    assert_same(ours.read_layers(text, None), wanted)
    _, cache = ours.read(text[:-1], None)
    assert_same(ours.read_layers(text[-1:], cache), wanted)
    assert ours.layers + 1 == len(wanted)


@pytest.mark.parametrize("architecture", [*WITH_LAYERS, *RECURRENT])
def test_the_network(architecture: str) -> None:
    model = tiny_models.network(architecture).eval()
    text = ids(30)
    wanted = by_hidden_states(model, text)
    cached = CachedNetwork(model, CacheMode.WHOLE)
    before, watched = cached.read(text)[0], hooks(model)
    assert_same(read_layers(cached, text, None, model="tiny"), wanted)
    assert torch.equal(cached.read(text)[0], before), "the network was changed"
    assert hooks(model) == watched


def test_after_a_cache() -> None:
    model, text = tiny_models.network("llama").eval(), ids(30)
    cached = CachedNetwork(model)
    with torch.inference_mode():
        _, cache = cached.read(text[:-1])
    assert_same(read_layers(cached, text[-1:], cache, model="tiny"), by_hidden_states(model, text))


def test_a_network_whose_layers_cannot_be_read_says_so() -> None:
    model = tiny_models.network("opt", word_embed_proj_dim=16).eval()  # a projection stands between last norm and head
    with pytest.raises(RequestError, match=r"^The layers of tiny cannot be read one by one, so it has no lens"):
        read_layers(CachedNetwork(model, CacheMode.WHOLE), ids(9), None, model="tiny")
