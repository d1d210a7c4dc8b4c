"""A plain engine, and one whose steps are those of a CUDA GPU's decoder, on a CPU.

All of the decoder is tried but the recording, since a step that is not captured runs as it is. `python -m tests.gpu`
checks the recording, and needs a GPU.
"""

from dataclasses import replace
from math import exp
from typing import Any

import pytest

from decoding.engines.prefix_cache import PrefixCache
from decoding.engines.torch.captured_step import CapturedSteps
from decoding.engines.torch.cuda_graph_decoder import CudaGraphDecoder
from decoding.engines.torch.engine import engine_of
from decoding.models.loading import describe_model
from decoding.record.step import StepScores
from tests import tiny_models

IDS = list(b"Transformers are the")
STEPS = 24
CAPTURED = (
    *("gpt2", "llama", "qwen3", "gemma3_text", "mistral", "gpt_neox"),
    *("llama, tied", "gemma2", "phi3", "cohere", "opt", "mixtral"),
)


def engines(network: Any, *, ends: frozenset[int] = frozenset(), **options: Any) -> tuple[Any, Any]:
    """A plain engine, and one whose steps are the decoder's; both over one network. `options` are those of its captured
    steps.
    """
    loaded = replace(describe_model(network.eval(), tiny_models.tokenizer(), model="tiny"), end_ids=ends)
    plain, ours = engine_of(loaded), engine_of(loaded)
    ours.network = CudaGraphDecoder(network, ours.network, CapturedSteps(network, most=1, **options))
    ours.prefix_cache = PrefixCache(ours.network)
    return plain, ours


def read_prompt(engine: Any, ids: Any) -> tuple[Any, Any]:
    rows, cache = engine.network.read(ids, None)
    return rows[-1], cache


def steps(engine: Any, ids: Any = IDS, *, count: int = STEPS, top_k: int = 5, **forced: Any) -> list[StepScores]:
    return list(engine.steps(ids, max_new_tokens=count, top_k=top_k, **forced))


def check_same(ours: list[StepScores], plain: list[StepScores]) -> None:
    assert [scores.token_ids for scores in ours] == [scores.token_ids for scores in plain]
    for a, b in zip(ours, plain, strict=True):
        assert list(map(exp, a.logprobs)) == pytest.approx(list(map(exp, b.logprobs)), abs=2e-5)
        assert a.entropy == pytest.approx(b.entropy, abs=1e-4)
        assert [power for power, _ in a.log_sums] == [power for power, _ in b.log_sums]
        assert [s for _, s in a.log_sums] == pytest.approx([s for _, s in b.log_sums], abs=1e-3)
        assert (a.picked is None) == (b.picked is None)
        if a.picked and b.picked:
            assert (a.picked.token_id, a.picked.rank) == (b.picked.token_id, b.picked.rank)
            assert exp(a.picked.logprob) == pytest.approx(exp(b.picked.logprob), abs=2e-5)


def sizes(engine: Any) -> list[tuple[int, int]]:
    return engine.network.steps.sizes
