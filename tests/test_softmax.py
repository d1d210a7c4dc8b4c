"""The softmax and the order of candidates, on logits written by hand: by NumPy, and by torch as on a GPU."""

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import decoding
from decoding.engines import Engine
from decoding.engines.batching.engine import BatchedEngine
from decoding.engines.local_engine import LocalEngine
from decoding.engines.torch import softmax as on_device
from decoding.engines.torch.transformers_greedy import network_of
from decoding.engines.zero_gpu import ZeroGpuEngine
from decoding.errors import ModelError
from decoding.ranking import rank
from decoding.record.step import ScoredToken, StepScores
from decoding.record.trace import Trace
from decoding.softmax import INVERSE_TEMPERATURES, read_scores, read_tokens
from tests.fakes import ScriptedEngine

INF = math.inf
NO_NUMBER = "The model's output is not a number (NaN or infinite), so there is no probability to show."
PROMPT = "Transformers are the"


def by_numpy(logits: torch.Tensor, top_k: int, picked_id: int | None = None) -> StepScores:
    return read_scores(logits.float().numpy(), top_k, picked_id)


READERS = pytest.mark.parametrize("read", [by_numpy, on_device.read_on_device], ids=["numpy", "torch"])
RANKS: dict[str, Callable[[torch.Tensor, int], list[int]]] = {
    "numpy": lambda logits, top_k: rank(logits.float().numpy(), top_k).tolist(),
    "torch": lambda logits, top_k: on_device.rank(logits, top_k).tolist(),
}
RANKERS = pytest.mark.parametrize("order", RANKS.values(), ids=RANKS)


def exact(logits: Sequence[float]) -> tuple[Any, Any, float]:
    """Order, probabilities and entropy of float32 logits, in numpy's float64, by a stable sort."""
    values = np.asarray(logits, np.float32).astype(np.float64)
    weights = np.exp(values - values.max())
    probabilities = weights / weights.sum()
    order = np.argsort(-values, kind="stable")
    entropy = -sum(p * math.log(p) for p in probabilities if p > 0)
    return order, probabilities, entropy


# ---- the order


@READERS
@pytest.mark.parametrize(
    ("logits", "top_k", "ids"),
    [
        ([1.0, 3.0, 2.0, 3.0], 4, [1, 3, 2, 0]),
        ([5.0, 5.0, 5.0, 5.0], 4, [0, 1, 2, 3]),
        ([0.0, 2.0, 2.0, 2.0, 3.0], 2, [4, 1]),  # a tie at the cut
        ([0.0, 1.0, 1.0, 1.0, 1.0], 3, [1, 2, 3]),
        ([-0.0, 0.0], 2, [0, 1]),
        ([0.0, -0.0], 2, [0, 1]),
        ([-1.0, -0.0, 0.0, -0.0], 4, [1, 2, 3, 0]),
        ([-3.0, -1.0, -2.0], 3, [1, 2, 0]),
        ([1e-45, 0.0, -1e-45], 3, [0, 1, 2]),  # the smallest that float32 has
        ([-INF, 1.0, -INF, -3e38], 4, [1, 3, 0, 2]),
        ([3.4e38, -3.4e38, 0.0], 3, [0, 2, 1]),
        ([7.0], 1, [0]),
        ([1.0, 2.0], 50, [1, 0]),
    ],
)
def test_order(read: Any, logits: list[float], top_k: int, ids: list[int]) -> None:
    assert read(torch.tensor(logits), top_k).token_ids == tuple(ids)


@RANKERS
@pytest.mark.parametrize("top_k", [1, 5, 50, 200])
def test_the_first_is_argmax_among_many_ties(order: Any, top_k: int) -> None:
    torch.manual_seed(0)
    for _ in range(10):
        logits = torch.randint(0, 5, (50_000,)).float()
        assert order(logits, top_k) == np.argsort(-logits.numpy(), kind="stable")[:top_k].tolist()
        assert order(logits, top_k)[0] == int(logits.argmax())


@RANKERS
@given(
    logits=st.lists(
        st.one_of(st.floats(width=32, allow_nan=False, allow_infinity=False), st.sampled_from([0.0, -0.0, 1.0, -INF])),
        min_size=1,
    ),
    top_k=st.integers(1, 60),
)
def test_order_is_a_stable_sorts(order: Any, logits: list[float], top_k: int) -> None:
    expected = sorted(range(len(logits)), key=lambda token_id: (-logits[token_id], token_id))
    assert order(torch.tensor(logits), top_k) == expected[:top_k]
    repeated = logits * (600 // len(logits) + 1)  # long enough for blocks
    expected = sorted(range(len(repeated)), key=lambda token_id: (-repeated[token_id], token_id))
    assert order(torch.tensor(repeated), top_k) == expected[:top_k]


# ---- the numbers


def check_against_float64(read: Any, logits: torch.Tensor, top_k: int) -> None:
    order, probabilities, entropy = exact(logits.float().tolist())
    readout = read(logits, top_k)
    assert readout.token_ids == tuple(order[:top_k])
    for token_id, logprob in zip(readout.token_ids, readout.logprobs, strict=True):
        assert math.exp(logprob) == pytest.approx(probabilities[token_id], rel=1e-12, abs=1e-300)
    assert readout.entropy == pytest.approx(entropy, rel=1e-9, abs=1e-9)


@READERS
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("spread", [0.01, 1.0, 8.0])
def test_softmax_over_a_real_vocabulary(read: Any, dtype: torch.dtype, spread: float) -> None:
    torch.manual_seed(0)
    check_against_float64(read, (torch.randn(50_257) * spread).to(dtype), 50)


@READERS
@given(logits=st.lists(st.floats(-80, 80, width=32), min_size=1, max_size=40), top_k=st.integers(1, 50))
def test_softmax_of_anything(read: Any, logits: list[float], top_k: int) -> None:
    check_against_float64(read, torch.tensor(logits), top_k)


@READERS
def test_all_of_it_sums_to_one(read: Any) -> None:
    torch.manual_seed(0)
    readout = read(torch.randn(5_000) * 5, 5_000)
    assert math.fsum(map(math.exp, readout.logprobs)) == pytest.approx(1, abs=1e-12)
    assert len(readout.token_ids) == len(set(readout.token_ids)) == 5_000


@READERS
def test_the_cut_does_not_change_the_numbers(read: Any) -> None:
    torch.manual_seed(0)
    logits = torch.randn(1_000)
    whole = read(logits, 1_000)
    for top_k in (1, 2, 5, 50):
        cut = read(logits, top_k)
        assert cut.logprobs == whole.logprobs[:top_k]
        assert (cut.token_ids, cut.entropy) == (whole.token_ids[:top_k], whole.entropy)


@READERS
def test_half_precision_ties_go_to_the_lower_id(read: Any) -> None:
    # 1.001 and 1.0 are one number in bfloat16.
    logits = torch.tensor([0.0, 1.0, 1.001]).to(torch.bfloat16)
    readout = read(logits, 2)
    assert readout.token_ids == (1, 2)
    assert readout.logprobs[0] == readout.logprobs[1]


@READERS
def test_the_logits_are_left_as_they_were(read: Any) -> None:
    logits = torch.tensor([1.0, -0.0, 2.0])
    read(logits, 2)
    assert logits.tolist() == [1.0, 0.0, 2.0]
    assert math.copysign(1, logits[1].item()) == -1


@READERS
def test_entropy_at_both_ends(read: Any) -> None:
    assert read(torch.zeros(1024), 1).entropy == pytest.approx(math.log(1024), rel=1e-12)
    certain = read(torch.tensor([-INF, 3.0, -INF]), 3)
    assert certain.entropy == 0.0
    assert certain.logprobs == (0.0, -INF, -INF)


@READERS
@pytest.mark.parametrize(
    "logits",
    [[1.0, math.nan], [math.nan, 1.0], [math.nan, math.nan], [1.0, INF], [INF, INF], [INF, -INF], [-INF, -INF], [-INF]],
    ids=str,
)
def test_logits_that_are_not_finite_are_refused(read: Any, logits: list[float]) -> None:
    for dtype in (torch.float32, torch.bfloat16):
        with pytest.raises(ModelError) as refused:
            read(torch.tensor(logits, dtype=dtype), 1)
        assert str(refused.value) == NO_NUMBER


# ---- a pick's probability and rank


def check_against_sorting(read: Any, logits: torch.Tensor) -> None:
    values = logits.double().tolist()
    order = sorted(range(len(values)), key=lambda i: (-values[i], i))
    total = math.fsum(math.exp(v - values[order[0]]) for v in values)
    for place, token_id in enumerate(order):
        got = read(logits, 1, token_id).picked
        assert (got.token_id, got.rank) == (token_id, place)
        if math.isfinite(values[token_id]):
            assert got.logprob == pytest.approx(values[token_id] - values[order[0]] - math.log(total), abs=1e-10)
        else:
            assert got.logprob == -INF


@READERS
@given(logits=st.lists(st.sampled_from([-INF, -3.0, -0.0, 0.0, 1.0, 1.5, 80.0]), min_size=1, max_size=12))
def test_ranks_with_ties(read: Any, logits: list[float]) -> None:
    if any(map(math.isfinite, logits)):
        check_against_sorting(read, torch.tensor(logits))


@READERS
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_ranks_of_a_vocabulary(read: Any, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    check_against_sorting(read, (torch.randn(300) * 4).to(dtype).float())


@READERS
def test_ties_go_to_the_lower_id(read: Any) -> None:
    logits = torch.tensor([1.0, 2.0, 1.0, -0.0, 0.0])
    assert [read(logits, 1, token_id).picked.rank for token_id in range(5)] == [1, 0, 2, 3, 4]


@READERS
def test_a_pick_has_exactly_the_numbers_of_the_readout(read: Any) -> None:
    torch.manual_seed(0)
    for dtype in (torch.float32, torch.bfloat16):
        logits = (torch.randn(5_000) * 3).to(dtype)
        readout = read(logits, 50)
        for place in (0, 1, 7, 49):
            token_id = readout.token_ids[place]
            assert read(logits, 1, token_id).picked == ScoredToken(token_id, readout.logprobs[place], place)


@READERS
def test_far_outside_the_candidates(read: Any) -> None:
    logits = torch.zeros(50_000)
    logits[7], logits[49_999] = 10.0, -20.0
    got = read(logits, 1, 49_999).picked
    assert got.rank == 49_999
    assert got.logprob == pytest.approx(-20 - math.log(math.exp(10) + 49_998 + math.exp(-20)), abs=1e-9)


# ---- the sums at other temperatures


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
    path = Path(__file__).resolve().parents[1] / "assets" / "recorded" / "gpt2_xl_notebook_table.jsonl"
    assert all(step.log_sums == () for step in Trace.from_jsonl(path.read_text("utf-8")).steps)


def test_several_tokens_have_the_ranks_and_probabilities_that_one_has() -> None:
    logits = np.array([2, 3, 2, -1, 3, 2], np.float32)  # ties before and after: the lower id comes first
    logprobs, ranks = read_tokens(logits, range(6))
    alone = [read_scores(logits, 1, token_id).picked for token_id in range(6)]
    assert ranks == [one.rank for one in alone if one] == [2, 0, 3, 5, 1, 4]
    assert logprobs == pytest.approx([one.logprob for one in alone if one], abs=1e-6)
