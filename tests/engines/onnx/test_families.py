"""Every family's graph against transformers' network in float32, read without a cache."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from transformers.utils import logging

from tests import tiny_models
from tests.engines.onnx.runner import Runner, probabilities
from tests.graphs import graph_without_proof

ROPE_LLAMA3 = {
    "rope_theta": 10_000.0,
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
ROPE_HALF = {"rope_parameters": {"rope_theta": 1e4, "partial_rotary_factor": 0.5}}
ROPES_GEMMA = {
    "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
    "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
}
_WIDE = {"hidden_size": 64, "intermediate_size": 96}
WIDER: dict[str, dict[str, Any]] = {"gpt2": {"n_embd": 64}, "gpt_neox": _WIDE | {"hidden_size": 128}}
"""ONNX Runtime's attention takes heads of multiples of 16, of which as many values turn."""
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("gpt2", {}),
    "gpt2, another width within": ("gpt2", {"n_inner": 80}),
    "llama": ("llama", {}),
    "llama, tied": ("llama", {"tie_word_embeddings": True}),
    "llama, biases": ("llama", {"attention_bias": True, "mlp_bias": True}),
    "llama 3": ("llama", {"rope_parameters": ROPE_LLAMA3}),
    "llama, linear": ("llama", {"rope_parameters": {"rope_theta": 1e4, "rope_type": "linear", "factor": 4.0}}),
    "mistral": ("mistral", {}),
    "mistral, no window": ("mistral", {"sliding_window": None}),
    "qwen2": ("qwen2", {}),
    "qwen2, windows": ("qwen2", {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1}),
    "qwen3": ("qwen3", {}),
    "qwen3, tied": ("qwen3", {"tie_word_embeddings": True}),
    "gpt_neox": ("gpt_neox", ROPE_HALF),
    "gpt_neox, whole heads turn": ("gpt_neox", {"rope_parameters": {"rope_theta": 1e4, "partial_rotary_factor": 1.0}}),
    "gpt_neox, one after the other": ("gpt_neox", {"use_parallel_residual": False} | ROPE_HALF),
    "gemma3": ("gemma3_text", {"query_pre_attn_scalar": 8}),
    "gemma3, tied": ("gemma3_text", {"tie_word_embeddings": True, "rope_parameters": ROPES_GEMMA}),
}
NOISE = 1e-4


def network(case: str) -> Any:
    architecture, changes = CASES[case]
    logging.disable_progress_bar()
    model = tiny_models.network(architecture, **(WIDER.get(architecture, _WIDE | {"head_dim": 16}) | changes)).eval()
    torch.manual_seed(1)
    for name, weights in model.named_parameters():
        if weights.dim() == 1:  # norms and biases, which begin as ones and zeros
            torch.nn.init.normal_(weights, mean=float(name.endswith("weight")), std=0.2)
    return model


def ids(count: int, seed: int = 0) -> list[int]:
    return np.random.default_rng(seed).integers(0, tiny_models.VOCABULARY, count).tolist()


def expected(model: Any, token_ids: list[int]) -> Any:
    """The logits after each id, of a network that reads all of them at once, without a cache."""
    with torch.inference_mode():
        return model(torch.tensor([token_ids]), use_cache=False).logits[0].float().numpy()


def assert_same(found: Any, wanted: Any) -> None:
    assert len({int(row.argmax()) for row in wanted}) > len(wanted) // 4, "an oracle that repeats itself proves nothing"
    assert (found.argmax(-1) == wanted.argmax(-1)).all()
    assert np.abs(probabilities(found) - probabilities(wanted)).max() < NOISE


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Any, Runner]]:
    found: dict[str, tuple[Any, Runner]] = {}

    def both(case: str) -> tuple[Any, Runner]:
        if case not in found:
            model, folder = network(case), tmp_path_factory.mktemp("model")
            model.save_pretrained(folder)
            found[case] = model, Runner(graph_without_proof(folder, folder))
        return found[case]

    return both


@pytest.mark.parametrize("case", CASES)
def test_a_text_read_at_once(made: Callable[[str], tuple[Any, Runner]], case: str) -> None:
    model, runner = made(case)
    text = ids(60)
    found, _ = runner.read(text, positions=range(60))
    assert_same(found, expected(model, text))


@pytest.mark.parametrize("case", CASES)
def test_in_pieces_and_after_a_cache(made: Callable[[str], tuple[Any, Runner]], case: str) -> None:
    """A prompt in pieces of 1, 17, 2 and 30 ids, then one by one: windows of 8 are crossed within and between them."""
    model, runner = made(case)
    text, found, cache, begin = ids(60, 1), [], None, 0
    for length in (1, 17, 2, 30, *[1] * 10):
        logits, cache = runner.read(text[begin : begin + length], cache, positions=range(length))
        found.append(logits)
        begin += length
    assert_same(np.concatenate(found), expected(model, text))


@pytest.mark.parametrize("case", CASES)
def test_rows_of_different_lengths(made: Callable[[str], tuple[Any, Runner]], case: str) -> None:
    """Buffers that are input and output at once; prompts of 3, 21 and 40 ids, then 12 passes that all share."""
    model, runner = made(case)
    texts = [ids(length + 12, length) for length in (3, 21, 40)]
    lengths = np.array([3, 21, 40], np.int32)
    buffers = runner.empty(3, width=64)
    for row, (text, length) in enumerate(zip(texts, lengths, strict=True)):
        _, cache = runner.read(text[:length])
        for name in runner.names:
            buffers[name][row, :, :length] = cache[name][0]
    found: list[list[Any]] = [[], [], []]
    for _ in range(12):
        following = [[text[length]] for text, length in zip(texts, lengths, strict=True)]
        logits = runner.read_rows(following, buffers, lengths)
        lengths = lengths + 1
        for row in range(3):
            found[row].append(logits[row, 0])
    for row, text in enumerate(texts):
        assert_same(np.stack(found[row]), expected(model, text)[len(text) - 12 :])


@pytest.mark.parametrize("case", CASES)
def test_a_first_pass_over_prompts_of_different_lengths(made: Callable[[str], tuple[Any, Runner]], case: str) -> None:
    """Shorter prompts are filled up on the right; then each row goes on from its own length."""
    model, runner = made(case)
    texts, lengths = [ids(50, seed) for seed in (5, 6)], np.array([30, 9], np.int32)
    buffers = runner.empty(2, width=64)
    begin = [texts[0][:30], texts[1][:9] + [0] * 21]
    first = runner.read_rows(begin, buffers, np.zeros(2, np.int32), lengths=lengths, positions=range(30))
    following = [[text[length]] for text, length in zip(texts, lengths, strict=True)]
    after = runner.read_rows(following, buffers, lengths)
    for row, (text, length) in enumerate(zip(texts, lengths, strict=True)):
        wanted = expected(model, text[: length + 1])
        assert_same(np.concatenate([first[row, :length], after[row]]), wanted)


@pytest.mark.parametrize("case", CASES)
def test_one_row_in_place_in_pieces(made: Callable[[str], tuple[Any, Runner]], case: str) -> None:
    """The same with a buffer that is input and output at once, wider than the text."""
    model, runner = made(case)
    text, found, buffers, begin = ids(60, 2), [], runner.empty(1, width=96), 0
    for length in (13, 20, 1, 26):
        before = np.array([begin], np.int32)
        found.append(runner.read_rows([text[begin : begin + length]], buffers, before, positions=range(length))[0])
        begin += length
    assert_same(np.concatenate(found), expected(model, text))
