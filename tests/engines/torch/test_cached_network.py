"""How a network is given ids: what is tried at load, what is refused, and what needs more than ids and a cache."""

import inspect
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

import decoding
from decoding.cancellation import WorkCancelledError, bind
from decoding.engines.batching.engine import BatchedEngine
from decoding.engines.local_engine import LocalEngine
from decoding.engines.torch import engine as torch_engine
from decoding.engines.torch.cache_argument import cache_argument
from decoding.engines.torch.cached_network import CacheMode
from decoding.errors import ModelError, RequestError
from decoding.models.catalogue import format_bytes
from decoding.models.loading import describe_model
from tests import all_architectures as sweep
from tests import families, tiny_models
from tests.engines.passes import before_each_pass
from tests.machines import give_memory
from tests.watched import noting, watched

Folder = Callable[[str], Path]
LONG_ROPE = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0] * 4,
    "long_factor": [4.0, 8.0, 16.0, 32.0],
    "original_max_position_embeddings": 24,
    "factor": 4.0,
    "partial_rotary_factor": 1.0,
}


def engine_of(network: Any) -> LocalEngine:
    return torch_engine.engine_of(describe_model(network.eval(), tiny_models.tokenizer(), model="tiny"))


def load(folder: Path) -> LocalEngine:
    return torch_engine.load(str(folder), device="cpu")


def made(architecture: str, **options: Any) -> Any:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(architecture, vocab_size=320, **options)).eval()


def test_nan_weights_are_not_mistaken_for_an_encoder() -> None:
    network = made("llama", hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2)
    with torch.no_grad():
        network.model.layers[0].mlp.up_proj.weight[:] = float("nan")
    with pytest.raises(ModelError, match="is not a number"):
        decoding.trace(engine_of(network), "Hi", max_new_tokens=1, top_k=1)


# ---- the sweep


@pytest.mark.parametrize(
    "name",
    [
        "bamba",
        "bloom",
        "cohere2",
        "codegen",
        "deepseek_v3",
        "falcon_mamba",
        "gemma2",
        "gpt2",
        "gpt_bigcode",
        "gptj",
        "granitemoehybrid",
        "jamba",
        "kimi_linear",
        "lfm2",
        "mixtral",
        "mpt",
        "openai-gpt",
        "opt",
        "phimoe",
        "qwen3_5",
        "qwen3_5_text",
        "qwen3_moe",
        "xglm",
    ],
)
def test_a_family_is_read_as_its_whole_text_reads(name: str) -> None:
    assert sweep.check(families.network(name), name).startswith("same")


@pytest.mark.parametrize("name", ["bert", "cpmant", "electra", "prophetnet", "roberta", "xlm", "xlnet"])
def test_a_family_that_does_not_read_forward_is_refused(name: str) -> None:
    assert sweep.check(families.network(name), name).startswith(f"refused: {name} ")


# ---- whether it reads forward


@pytest.mark.parametrize("architecture", ["llama", "qwen3", "gemma3_text"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_configuration_that_makes_an_encoder_of_a_decoder(tmp_path: Path, architecture: str, dtype: str) -> None:
    change = {"use_bidirectional_attention": True} if architecture == "gemma3_text" else {"is_causal": False}
    folder = tiny_models.save(tmp_path, tiny_models.network(architecture, **change))
    with pytest.raises(ModelError) as refused:
        decoding.load(str(folder), device="cpu", dtype=dtype)
    assert (refused.value.field, str(refused.value)) == (
        "model",
        f"{folder} sees the text that follows: when a later token changes, its scores before that token change too. "
        f"It is an encoder, or reads its prompt in both directions ({architecture}); greedy decoding needs a causal "
        "model.",
    )


def test_an_encoder_that_its_configuration_makes_a_decoder() -> None:
    network = made("bert", **tiny_models._PLAIN, is_decoder=True, initializer_range=0.5)
    assert sweep.check(network, "bert").startswith("same")


def test_a_network_that_needs_more_than_ids_is_refused() -> None:
    network = tiny_models.network("llama")

    def refuse(_: object) -> None:
        raise ValueError("inputs_embeds cannot be None.\nMore lines.")

    before_each_pass(network, refuse)
    with pytest.raises(ModelError) as refused:
        engine_of(network)
    assert str(refused.value) == (
        "tiny cannot be read from token ids alone (llama). The network said: inputs_embeds cannot be None."
    )


# ---- what a cache forgets


@pytest.mark.parametrize("prompt", ["Transformers are the", "Transformers are the best, I am told"])
def test_a_rope_that_switches_is_read_anew_there(prompt: str) -> None:
    network = tiny_models.network("phi3", original_max_position_embeddings=24, rope_parameters=LONG_ROPE)
    engine = engine_of(network)
    assert engine.info.why == "a text of more than 24 tokens is read again from the start there"
    trace = decoding.trace(engine, prompt, max_new_tokens=24, top_k=5)
    ids, rows = sweep.uncached(network, list(trace.prompt_token_ids), 24)
    assert list(trace.generated_token_ids) == ids
    for step, row in zip(trace.steps, rows, strict=True):
        expected = [row[c.token_id].exp().item() for c in step.candidates]
        assert [c.probability for c in step.candidates] == pytest.approx(expected, abs=1e-5)
    assert decoding.agreement(engine, trace).identical
    scored = list(engine.score(trace.prompt_token_ids, ids, top_k=2))
    assert sum(s.picked.logprob for s in scored if s.picked) == pytest.approx(trace.logprob, abs=1e-3)
    shared = decoding.trace(BatchedEngine(engine), prompt, max_new_tokens=24, top_k=5)
    assert shared.generated_token_ids == trace.generated_token_ids
    step, other = trace.steps[9], trace.steps[9].candidates[1].token_id
    branch = decoding.branch(engine, trace, step.index, other, max_new_tokens=16)
    again, _ = sweep.uncached(network, [*trace.prompt_token_ids, *branch.generated_token_ids[:10]], 6)
    assert list(branch.generated_token_ids[10:]) == again


def test_a_switch_that_generate_does_not_heed_ends_the_context() -> None:
    """Another family with the same embeddings: its own greedy search goes on with the stale cache."""
    network = tiny_models.network(
        "llama", rope_parameters=LONG_ROPE, original_max_position_embeddings=24, max_position_embeddings=96
    )
    engine = engine_of(network)
    assert engine.context_length == 24
    assert engine.info.why == "the context ends at 24 tokens, where a cache and the whole text begin to differ"
    assert sweep.check(network, "llama").startswith("same")


def test_a_cache_that_says_something_else_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    network = tiny_models.network("llama")
    forward = network.forward

    def forgetful(input_ids: torch.Tensor, use_cache: bool = True, cache: Any = None, **options: Any) -> Any:
        if cache is not None:
            input_ids = (input_ids + 1) % tiny_models.VOCABULARY
        return forward(input_ids=input_ids, use_cache=use_cache, **{NAME: cache}, **options)

    NAME = cache_argument(network)  # noqa: N806
    forgetful.__signature__ = inspect.signature(forward)  # type: ignore[attr-defined]
    monkeypatch.setattr(
        network, "forward", lambda *a, **o: forgetful(*a, **{("cache" if k == NAME else k): v for k, v in o.items()})
    )
    network.forward.__signature__ = inspect.signature(forward)
    engine = engine_of(network)
    assert engine.network.cached.mode is CacheMode.WHOLE
    anew = "the whole text is read again at each step, because this network keeps no cache that gives the same scores"
    assert engine.info.why == anew
    trace = decoding.trace(engine, "Transformers", max_new_tokens=8, top_k=3)
    assert decoding.agreement(engine, trace).identical


# ---- its length


@pytest.mark.parametrize(
    ("network", "length"),
    [
        (lambda: made("mpt", d_model=64, n_layers=2, n_heads=4, max_seq_len=32), 32),
        (lambda: families.network("opt"), 96),
        (lambda: made("roberta", **tiny_models._PLAIN, is_decoder=True, pad_token_id=1), 94),
        (lambda: tiny_models.network("gpt2"), 96),
        (lambda: tiny_models.network("mamba"), None),
        (lambda: families.network("bart"), 96),
    ],
    ids=["mpt", "opt", "roberta", "gpt2", "mamba", "bart"],
)
def test_a_text_ends_where_the_network_has_no_more_room(network: Callable[[], Any], length: int | None) -> None:
    engine = engine_of(network())
    assert engine.context_length == length
    if length is None:
        return
    assert len(list(engine.steps([5] * (length - 3), max_new_tokens=9, top_k=2))) == 3
    with pytest.raises(RequestError, match=f"its context is {length}"):
        decoding.trace(engine, "x" * length, max_new_tokens=2, top_k=2)


# ---- logits that would take much memory


@pytest.mark.parametrize("architecture", ["llama", "mistral", "mamba", "recurrent_gemma", "phi3"])
def test_a_text_is_scored_in_pieces(tiny_folder: Folder, architecture: str) -> None:
    engine = load(tiny_folder(architecture))
    prompt, text = [5, 6, 7], [(11 * n) % 300 for n in range(40)]
    at_once = list(engine.score(prompt, text, top_k=5))
    asked: list[int] = []
    counting = watched(engine, read=noting(asked, lambda *_, last=1: last))
    counting.scored_numbers = 7 * tiny_models.VOCABULARY
    pieces = list(counting.score(prompt, text, top_k=5))
    assert asked[-6:] == [7, 7, 7, 7, 7, 5]
    for piece, whole in zip(pieces, at_once, strict=True):
        assert piece.token_ids == whole.token_ids
        assert piece.logprobs == pytest.approx(whole.logprobs, abs=1e-4)


def test_cancellation_ends_reading_between_chunks(tiny_folder: Folder) -> None:
    engine = load(tiny_folder("llama"))
    engine.scored_numbers = 7 * tiny_models.VOCABULARY
    found: list[object] = []

    def read() -> None:
        left = threading.Event()
        bind(left)
        try:
            for number, _ in enumerate(engine.score([5, 6], [7] * 40, top_k=2)):
                found.append(number)
                left.set()
        except WorkCancelledError:
            found.append("left")

    reader = threading.Thread(target=read)
    reader.start()
    reader.join()
    assert found == [*range(7), "left"]


def test_a_prompt_without_logits_to_keep_is_read_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    network = tiny_models.network("llama")
    engine = engine_of(network)
    expected = [s.token_ids for s in engine.steps(list(range(20)), max_new_tokens=5, top_k=3)]
    engine.network.cached.can_skip_logits = False
    lengths: list[int] = []
    before_each_pass(network, lambda shape: lengths.append(shape[1]))
    engine.network.cached.chunk_bytes = 8 * tiny_models.VOCABULARY * 4
    assert [s.token_ids for s in engine.steps(list(range(20)), max_new_tokens=5, top_k=3)] == expected
    assert lengths == [8, 8, 4, 1, 1, 1, 1]
    give_memory(monkeypatch, 1000)
    engine.network.cached.mode, engine.network.cached.can_read_several = CacheMode.WHOLE, False
    with pytest.raises(RequestError) as refused:
        next(engine.steps(list(range(20)), max_new_tokens=5, top_k=3))
    assert str(refused.value) == (
        f"The logits of 20 tokens need {format_bytes(25600)} of memory, and {format_bytes(1000)} is free. Shorten the "
        "text."
    )
