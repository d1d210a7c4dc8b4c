"""The sums at other temperatures: every engine says them, and the record keeps them."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import decoding
from decoding.engines import Engine
from decoding.engines.batching.engine import BatchedEngine
from decoding.engines.local_engine import LocalEngine
from decoding.engines.torch.transformers_greedy import network_of
from decoding.engines.zero_gpu import ZeroGpuEngine
from decoding.record.step import StepScores
from decoding.record.trace import Trace
from decoding.softmax import INVERSE_TEMPERATURES
from tests.fakes import ScriptedEngine
from tests.score_readers import READERS

PROMPT = "Transformers are the"


def agrees(readout: StepScores, logits: torch.Tensor) -> bool:
    """Whether a readout's candidates have these logits, and its sums are those of all of them."""
    exact = logits.double()
    sums = dict(readout.log_sums)
    for token_id, logprob in zip(readout.token_ids, readout.logprobs, strict=True):
        assert logprob + sums[1] == pytest.approx(exact[token_id].item(), abs=1e-4)
    for power in INVERSE_TEMPERATURES:
        assert sums[power] == pytest.approx((exact * power).logsumexp(0).item(), abs=1e-4)
    return list(sums) == sorted(INVERSE_TEMPERATURES)


@READERS
@pytest.mark.parametrize(("scale", "shift"), [(1, 0), (3, -80), (30, 500), (0, 7)])
def test_whatever_the_logits(read: Any, scale: float, shift: float) -> None:
    logits = torch.randn(50_000, generator=torch.Generator().manual_seed(1)) * scale + shift
    logits[::7] = -math.inf
    assert agrees(read(logits, 5), logits)


def test_a_runs_logits_are_those_of_the_starters_forward_pass(starter: LocalEngine) -> None:
    trace = decoding.trace(starter, PROMPT, max_new_tokens=3, top_k=10)
    ids = [*trace.prompt_token_ids]
    for step in trace.steps:
        with torch.inference_mode():
            logits = network_of(starter)(torch.tensor([ids])).logits[0, -1].double()
        at_one = dict(step.log_sums)[1]
        for candidate in step.candidates:
            assert candidate.logprob + at_one == pytest.approx(logits[candidate.token_id].item(), abs=1e-4)
        for power, log_sum in step.log_sums:
            assert log_sum == pytest.approx((logits * power).logsumexp(0).item(), abs=1e-4)
        ids.append(step.picked.token_id)


Way = Callable[[LocalEngine, list[int]], Iterator[StepScores]]


def forced(engine: Engine, ids: list[int]) -> Iterator[StepScores]:
    greedy = [readout.token_ids[0] for readout in engine.steps(ids, max_new_tokens=3, top_k=4)]
    return engine.steps(ids, max_new_tokens=3, top_k=4, forced={1: greedy[1]})


def scored(engine: Engine, ids: list[int]) -> Iterator[StepScores]:
    greedy = [readout.token_ids[0] for readout in engine.steps(ids, max_new_tokens=3, top_k=4)]
    return engine.score(ids, greedy, top_k=4)


WAYS: dict[str, Way] = {
    "local": lambda engine, ids: engine.steps(ids, max_new_tokens=3, top_k=4),
    "forced": forced,
    "scored": scored,
    "shared": lambda engine, ids: BatchedEngine(engine).steps(ids, max_new_tokens=3, top_k=4),
    "shared, forced": lambda engine, ids: forced(BatchedEngine(engine), ids),
    "ZeroGPU": lambda engine, ids: ZeroGpuEngine(engine).steps(ids, max_new_tokens=3, top_k=4),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_every_engine_says_them(way: Way, tiny_folder: Callable[[str], Path]) -> None:
    engine = decoding.load(str(tiny_folder("gpt2")), device="cpu")
    ids = [5, 9, 3]
    readouts = list(way(engine, ids))
    assert len(readouts) == 3
    for readout in readouts:
        with torch.inference_mode():
            logits = network_of(engine)(torch.tensor([ids])).logits[0, -1]
        assert agrees(readout, logits)
        ids.append(readout.token_ids[0])


def test_rows_that_share_a_pass_say_them(tiny_folder: Callable[[str], Path]) -> None:
    engine = decoding.load(str(tiny_folder("gpt2")), device="cpu")
    plain = [list(engine.steps(ids, max_new_tokens=4, top_k=3)) for ids in ([5, 9], [8, 4, 2])]
    shared = BatchedEngine(engine)
    both = [shared.steps(ids, max_new_tokens=4, top_k=3) for ids in ([5, 9], [8, 4, 2])]
    for expected in zip(*plain, strict=True):
        for readout, alone in zip(map(next, both), expected, strict=True):
            assert dict(readout.log_sums) == pytest.approx(dict(alone.log_sums), abs=1e-4)


def test_a_beam_is_read_with_them(tiny_folder: Callable[[str], Path]) -> None:
    engine = decoding.load(str(tiny_folder("gpt2")), device="cpu")
    trace = decoding.beam_search(engine, "a b", max_new_tokens=2, num_beams=2, top_k=2)
    assert all(len(step.log_sums) == len(INVERSE_TEMPERATURES) for step in trace.steps)


def test_they_are_in_the_record_to_six_decimals() -> None:
    trace = decoding.trace(ScriptedEngine(), PROMPT, max_new_tokens=1, top_k=3)
    assert '"log_sums":[[0.25,' in trace.to_jsonl()
    assert Trace.from_jsonl(trace.to_jsonl()) == trace
    sums = dict(trace.steps[0].log_sums)
    assert sums[1] == pytest.approx(0, abs=1e-6)  # the scripted logits are logarithms of probabilities
    assert sums[2] == round(sums[2], 6)


def test_a_recorded_run_without_them_is_still_read() -> None:
    path = Path(__file__).resolve().parents[2] / "assets" / "recorded" / "gpt2_xl_notebook_table.jsonl"
    assert all(step.log_sums == () for step in Trace.from_jsonl(path.read_text("utf-8")).steps)
