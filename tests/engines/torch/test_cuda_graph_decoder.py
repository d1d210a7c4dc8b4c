"""The decoder of a CUDA GPU on a CPU: all of it but the recording, since a step that is not captured runs as it is.

`python -m tests.gpu` checks the recording, and needs a GPU.
"""

import threading
from collections.abc import Callable
from dataclasses import replace
from math import exp
from pathlib import Path
from typing import Any

import pytest
import torch

from decoding import assets
from decoding.engines.batching.engine import BatchedEngine
from decoding.engines.prefix_cache import PrefixCache
from decoding.engines.torch import captured_step, cuda_graph_decoder
from decoding.engines.torch.captured_step import CapturedSteps, NoMemoryForRowError
from decoding.engines.torch.cuda_graph import Graphs
from decoding.engines.torch.cuda_graph_decoder import CapturedBatch, CudaGraphDecoder
from decoding.engines.torch.engine import engine_of
from decoding.engines.torch.running_batch import TorchBatch
from decoding.engines.torch.softmax import read_scores
from decoding.errors import ModelError
from decoding.messages import Message
from decoding.models.loading import describe_model, load_model
from decoding.record.step import StepScores
from tests import tiny_models
from tests.engines.passes import before_each_pass
from tests.watched import watched

Folder = Callable[[str], Path]
IDS = list(b"Transformers are the")
STEPS = 24
CAPTURED = (
    *("gpt2", "llama", "qwen3", "gemma3_text", "mistral", "gpt_neox"),
    *("llama, tied", "gemma2", "phi3", "cohere", "opt", "mixtral"),
)
PLAIN = ("mamba", "rwkv", "recurrent_gemma", "gpt_neo", "mamba2")


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


@pytest.fixture
def llama() -> tuple[Any, Any]:
    return engines(tiny_models.network("llama"))


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


# ---- the same numbers


@pytest.mark.parametrize("architecture", CAPTURED)
def test_a_step_over_the_static_cache_is_a_plain_step(architecture: str) -> None:
    plain, ours = engines(tiny_models.network(architecture))
    expected = steps(plain)
    assert len({scores.token_ids[0] for scores in expected}) >= 5  # or any two would agree
    assert ours.network.verify() == ""
    check_same(steps(ours), expected)
    check_same(steps(ours, IDS[:3], count=8), steps(plain, IDS[:3], count=8))  # nothing is left of the run before
    assert sizes(ours) == [(1, captured_step.COLUMNS)]


@pytest.mark.parametrize("architecture", ["llama", "mistral", "mamba"])
def test_beams_are_those_of_the_plain_loop(architecture: str) -> None:
    plain, ours = engines(tiny_models.network(architecture))
    options: dict[str, Any] = {"num_beams": 4, "max_new_tokens": 8, "top_k": 3}
    expected, found = (list(engine.beams(IDS, **options)) for engine in (plain, ours))
    for theirs, mine in zip(expected, found, strict=True):
        assert [(b.parent, b.token_id, b.rank) for b in mine.beams] == [
            (b.parent, b.token_id, b.rank) for b in theirs.beams
        ]
        assert [b.total for b in mine.beams] == pytest.approx([b.total for b in theirs.beams], abs=1e-4)
    assert any([beam.parent for beam in step.beams] != [0, 1, 2, 3] for step in found[1:])  # rows were copied


@pytest.mark.parametrize("architecture", PLAIN)
def test_a_network_without_a_static_cache_uses_the_plain_loop(architecture: str) -> None:
    plain, ours = engines(tiny_models.network(architecture))
    assert ours.network.verify() == Message("why.loop.family")
    assert steps(ours, count=6) == steps(plain, count=6)
    assert sizes(ours) == []


def test_a_family_that_brings_the_device_a_list_at_each_step_goes_through_the_plain_loop() -> None:
    plain, ours = engines(tiny_models.network("falcon"))
    assert ours.network.verify() == Message("why.loop.captured")
    check_same(steps(ours, count=6), steps(plain, count=6))


@pytest.mark.parametrize("rope", ["dynamic", "longrope"])
def test_rotary_embeddings_that_depend_on_the_length_are_captured_or_not_but_never_wrong(rope: str) -> None:
    parameters: dict[str, Any] = {"rope_type": rope, "rope_theta": 10_000.0, "factor": 2.0}
    if rope == "longrope":
        parameters |= {"short_factor": [1.0] * 4, "long_factor": [2.0] * 4, "original_max_position_embeddings": 32}
    plain, ours = engines(tiny_models.network("llama", rope_parameters=parameters))
    assert (ours.network.verify() == "") == bool(sizes(ours))
    if rope == "dynamic":  # its frequencies are chosen by Python
        assert ours.network.verify() != ""
    check_same(steps(ours), steps(plain))  # from 20 ids to 44, over the bound of 32


@pytest.mark.parametrize("top_k", [1, 50, 51, 320])
def test_any_number_of_candidates(llama: tuple[Any, Any], top_k: int) -> None:
    plain, ours = llama
    check_same(steps(ours, count=4, top_k=top_k), steps(plain, count=4, top_k=top_k))


def test_ties_go_to_the_lower_id() -> None:
    network = tiny_models.network("llama")
    with torch.no_grad():
        network.lm_head.weight[100:200] = network.lm_head.weight[40]
    plain, ours = engines(network)
    forced = dict.fromkeys(range(6), 150)
    check_same(steps(ours, count=8), steps(plain, count=8))
    check_same(steps(ours, count=8, forced=forced), steps(plain, count=8, forced=forced))


def test_in_16_bits_the_comparison_allows_for_rounding() -> None:
    plain, ours = engines(tiny_models.network("llama").to(torch.bfloat16))
    assert ours.network.verify() == ""
    ours_ids = [scores.token_ids[0] for scores in steps(ours, count=3)]
    assert ours_ids == [scores.token_ids[0] for scores in steps(plain, count=3)]


# ---- picks, ends, and leaving


@pytest.mark.parametrize("forced", [{0: 7}, {5: 7}, {STEPS - 1: 7}, {0: 1, 1: 2, 9: 3, 10: 4}], ids=str)
def test_forced_picks(llama: tuple[Any, Any], forced: dict[int, int]) -> None:
    plain, ours = llama
    check_same(steps(ours, forced=forced), steps(plain, forced=forced))
    assert sizes(ours)


def test_a_branch_costs_only_its_own_steps(llama: tuple[Any, Any]) -> None:
    plain, ours = llama
    run = steps(ours)
    forced = {12: run[12].token_ids[1]}
    read: list[int] = []
    handle = plain.network.network.register_forward_pre_hook(
        lambda _, __, options: read.append(options["input_ids"].shape[1]), with_kwargs=True
    )
    branch = steps(ours, forced=forced)
    handle.remove()
    assert read == [1] * (STEPS - 13)
    check_same(branch, steps(plain, forced=forced))


def test_a_run_ends_after_an_end_of_text() -> None:
    network = tiny_models.network("llama")
    written = [scores.token_ids[0] for scores in steps(engines(network)[0])]
    place = next(n for n, token_id in enumerate(written) if n >= 3 and token_id not in written[:n])
    plain, ours = engines(network, ends=frozenset([written[place]]))
    for _ in range(2):
        scores = steps(ours)
        assert len(scores) == place + 1
        check_same(scores, steps(plain))
    kept = next(iter(ours.prefix_cache._entries.values()))
    assert ours.network.plain_cache(kept.cache).get_seq_length() == len(IDS) + place


@pytest.mark.parametrize("taken", [1, 2, 7])
def test_leaving_a_run_frees_the_graph_and_keeps_its_cache(llama: tuple[Any, Any], taken: int) -> None:
    plain, ours = llama
    run = ours.steps(IDS, max_new_tokens=STEPS, top_k=5)
    left = [next(run) for _ in range(taken)]
    run.close()
    check_same(left, steps(plain)[:taken])
    kept = next(iter(ours.prefix_cache._entries.values()))
    assert ours.network.plain_cache(kept.cache).get_seq_length() == len(IDS) + taken - 1
    reread = read_prompt(plain, [*IDS, *(scores.token_ids[0] for scores in left[:-1])])[1]
    for mine, theirs in zip(ours.network.plain_cache(kept.cache).layers, reread.layers, strict=True):
        assert torch.allclose(mine.keys, theirs.keys, atol=1e-4)
        assert torch.allclose(mine.values, theirs.values, atol=1e-4)
    check_same(steps(ours), steps(plain))


def test_two_runs_at_once_do_not_mix(llama: tuple[Any, Any]) -> None:
    plain, ours = llama
    alone = [steps(plain, ids, count=8) for ids in (IDS, IDS[4:])]
    both = [ours.steps(ids, max_new_tokens=8, top_k=5) for ids in (IDS, IDS[4:])]
    pairs = list(zip(*both, strict=True))
    for run, expected in zip(zip(*pairs, strict=True), alone, strict=True):
        check_same(list(run), expected)
    assert sizes(ours) == [(1, captured_step.COLUMNS)]


def test_many_threads_may_decode_at_once(llama: tuple[Any, Any]) -> None:
    plain, ours = llama
    prompts = [IDS[n:] for n in range(4)]
    expected, written = [steps(plain, ids, count=12) for ids in prompts], [None] * 4

    def visit(number: int) -> None:
        written[number] = steps(ours, prompts[number], count=12)  # type: ignore[call-overload]

    visitors = [threading.Thread(target=visit, args=(number,)) for number in range(4)]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join(300)
    for mine, theirs in zip(written, expected, strict=True):
        check_same(mine, theirs)  # type: ignore[arg-type]


def test_logits_that_are_nan_end_the_run_and_free_its_row() -> None:
    network = tiny_models.network("llama")
    with torch.no_grad():
        network.model.embed_tokens.weight[200] = float("nan")
    plain, ours = engines(network)
    with pytest.raises(ModelError, match=r"^The model's output is not a number"):
        steps(ours, forced={5: 200})
    assert sizes(ours)
    check_same(steps(ours, IDS[:4], count=6), steps(plain, IDS[:4], count=6))


# ---- many texts


@pytest.mark.parametrize("architecture", CAPTURED)
def test_many_rows_are_each_a_plain_run(architecture: str) -> None:
    plain, ours = engines(tiny_models.network(architecture))
    batch = ours.network.new_batch(4)
    assert isinstance(batch, CapturedBatch)
    prompts = [IDS, IDS[:3], IDS[5:], IDS[2:14], IDS[:7]]
    expected = [steps(plain, ids, count=12) for ids in prompts]
    written: list[list[StepScores]] = [[] for _ in prompts]
    caches: list[Any] = [read_prompt(plain, ids) for ids in prompts]
    for number, (logits, _) in enumerate(caches):
        written[number].append(read_scores(logits, 5))
    rows: dict[int, int] = {}  # the row of each text
    seen = set()
    for turn in range(40):
        waiting = [n for n in range(5) if n not in rows and len(written[n]) < 12]
        if turn % 2 == 0 and waiting and len(rows) < 4:  # they come one after another
            rows[waiting[0]] = batch.insert(caches[waiting[0]][1])
        if not rows:
            break
        seen.add(len(rows))
        said = batch.step({row: written[n][-1].token_ids[0] for n, row in rows.items()})
        for number, row in list(rows.items()):
            written[number].append(ours.network.scores(said[row], 5))
            if len(written[number]) == 12:  # and leave when they end
                assert batch.remove(rows.pop(number)).get_seq_length() == len(prompts[number]) + 11
    assert seen == {1, 2, 3, 4}
    assert {size for size, _ in batch.steps.sizes} == {1, 2, 4}
    for mine, theirs in zip(written, expected, strict=True):
        check_same(mine, theirs)


def test_a_text_goes_from_the_graph_of_one_to_the_batch_and_back(llama: tuple[Any, Any]) -> None:
    plain, ours = llama
    decoder = ours.network
    batch = decoder.new_batch(4)
    expected, other = steps(plain, count=16), read_prompt(plain, IDS[4:])[1]
    rows_of_it, cache = decoder.read(IDS, None)
    written = [decoder.scores(rows_of_it[-1], 5)]
    while len(written) < 16:
        picked = written[-1].picked_id
        if len(written) in (5, 11):
            rows = [batch.insert(cache), batch.insert(other)]
        if 5 <= len(written) < 8 or 11 <= len(written) < 14:
            written.append(decoder.scores(batch.step({rows[0]: picked, rows[1]: 9})[rows[0]], 5))
            if len(written) in (8, 14):
                other, cache = batch.remove(rows[1]), batch.remove(rows[0])
        else:
            [logits], cache = decoder.read([picked], cache)
            written.append(decoder.scores(logits, 5))
    check_same(written, expected)
    assert sizes(ours) == [(1, captured_step.COLUMNS)]
    assert other.get_seq_length() == len(IDS) - 4 + 6


def test_a_row_too_many_has_no_room(llama: tuple[Any, Any]) -> None:
    plain, ours = llama
    batch = ours.network.new_batch(2)
    cache = read_prompt(plain, IDS)[1]
    rows = [batch.insert(cache) for _ in range(2)]
    with pytest.raises(MemoryError):
        batch.insert(cache)
    assert batch.step(dict.fromkeys(rows, 7)).keys() == {*rows}


@pytest.mark.parametrize("rope", ["dynamic", "longrope"])
def test_rope_that_depends_on_the_longest_row_is_not_shared(rope: str) -> None:
    _, ours = engines(tiny_models.network("llama"))
    ours.network._network.config.rope_parameters = {"rope_type": rope, "rope_theta": 10_000.0}
    assert ours.network.new_batch(4) is None


def test_where_captured_steps_cannot_be_shared_their_rows_go_on_in_the_plain_batch(llama: tuple[Any, Any]) -> None:
    plain, ours = llama
    expected = steps(plain, count=4)
    rows, cache = read_prompt(ours, IDS)
    first = ours.network.scores(rows, 5)
    [logits], cache = ours.network.read([first.token_ids[0]], cache)  # a captured step, whose cache is the graph's
    written = [first, ours.network.scores(logits, 5)]
    ours.network.verify = lambda *_, **__: Message("why.loop.captured")
    batch = ours.network.new_batch(4)
    assert isinstance(batch, TorchBatch)
    row = batch.insert(cache)
    for _ in range(2):
        written.append(ours.network.scores(batch.step({row: written[-1].token_ids[0]})[row], 5))
    check_same(written, expected)


def test_in_16_bits_rows_are_shared_too() -> None:
    _, ours = engines(tiny_models.network("llama").to(torch.bfloat16))
    assert isinstance(ours.network.new_batch(4), CapturedBatch)


def test_rows_are_as_many_as_the_memory_has_room_for(llama: tuple[Any, Any]) -> None:
    plain, _ = llama
    cache = read_prompt(plain, IDS)[1]
    a_row = 2 * captured_step.COLUMNS * 2 * (2 * 2 * 8 * 4)  # columns, layers, keys and values of 2 heads in float32
    free = int(9 * a_row / captured_step.MEMORY_SHARE)
    together = CapturedSteps(plain.network.network, most=32, free_bytes=lambda _: free)
    assert together.bytes_to_insert([20]) == 0  # before there is a cache nobody knows
    together.insert(cache)
    assert together._cache is not None
    assert together._cache.rows == 8
    assert together.bytes_to_insert([20] * 7) == 0
    assert together.bytes_to_insert([20] * 8) == 16 * a_row
    assert together.bytes_to_insert([3 * captured_step.COLUMNS]) == 2 * 2 * a_row
    free = 0
    for _ in range(7):
        together.insert(cache)
    with pytest.raises(NoMemoryForRowError):
        together.insert(cache)


@pytest.mark.parametrize("rows", [2, 4])
def test_verify_compares_rows_of_different_lengths_with_plain_passes(llama: tuple[Any, Any], rows: int) -> None:
    plain, ours = llama
    together = CapturedSteps(plain.network.network, most=rows)
    assert ours.network.verify(together, rows=rows) == ""
    together._cache.mask = lambda rows, columns: torch.zeros(rows, 1, 1, columns)  # type: ignore[union-attr, method-assign]  # all is seen
    together._replays.clear()
    assert ours.network.verify(together, rows=rows) == Message("why.loop.captured")
    assert together.rows == []


# ---- sizes


def test_a_cache_grows_with_its_run_and_is_not_kept_too_large() -> None:
    plain, ours = engines(tiny_models.network("llama"), columns=16, columns_kept=64)
    for length, count, captured in (
        (3, 8, [(1, 16)]),
        (3, 15, [(1, 16), (1, 32)]),
        (20, 24, [(1, 64)]),  # in a larger cache all is captured anew
        (3, 8, [(1, 64), (1, 16)]),
    ):
        check_same(steps(ours, IDS[:length], count=count), steps(plain, IDS[:length], count=count))
        assert sizes(ours) == captured
    full = tiny_models.CONTEXT - len(IDS)
    check_same(steps(ours, count=200), steps(plain, count=200))
    assert len(steps(ours, count=200)) == full
    assert sizes(ours) == []  # of 128 columns
    check_same(steps(ours, count=5), steps(plain, count=5))
    assert sizes(ours) == [(1, 32)]


def test_without_memory_the_run_uses_the_plain_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    free: int | None = 1000
    plain, ours = engines(tiny_models.network("llama"), columns=16, free_bytes=lambda _: free)
    assert steps(ours) == steps(plain)
    assert sizes(ours) == []
    free = None
    check_same(steps(ours), steps(plain))
    assert sizes(ours)

    def full(rows: int, columns: int) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    kept = ours.network.steps._cache.columns
    monkeypatch.setattr(ours.network.steps._cache, "resize", full)
    check_same(steps(ours, count=70), steps(plain, count=70))  # in the middle of the run
    assert ours.network.steps._cache.columns == kept


# ---- what cannot be captured


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (RuntimeError("operation not permitted when stream is capturing"), False),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("CUDA error: out of memory"), True),
    ],
)
def test_a_capture_that_fails_is_tried_again_only_where_its_reason_passes(error: Exception, passes: bool) -> None:
    tried = []

    class Failing(Graphs):
        def record(self, function: Any) -> Any:
            tried.append(function)
            if len(tried) == 1:
                raise error
            return super().record(function)

    now, network = 0.0, tiny_models.network("llama")
    plain, ours = engines(network, graphs=Failing(network.device), clock=lambda: now)
    for _ in range(2):
        check_same(steps(ours), steps(plain))
    assert len(tried) == 1
    assert sizes(ours) == []
    now = captured_step.RETRY_SECONDS + 1.0
    check_same(steps(ours), steps(plain))
    assert bool(sizes(ours)) == passes


def test_nothing_is_captured_while_a_load_has_changed_the_default_dtype() -> None:
    now = 0.0
    plain, ours = engines(tiny_models.network("llama"), clock=lambda: now)
    expected = steps(plain)
    torch.set_default_dtype(torch.bfloat16)
    try:
        check_same(steps(ours), expected)
    finally:
        torch.set_default_dtype(torch.float32)
    assert sizes(ours) == []
    now = captured_step.RETRY_SECONDS + 1.0
    check_same(steps(ours), expected)
    assert sizes(ours)


def test_a_replay_that_says_something_else_is_not_used() -> None:
    class Frozen(Graphs):
        def capture(self, function: Callable[[], None]) -> Callable[[], None]:
            function()
            return lambda: None  # as if all of it had been folded into nothing

    network = tiny_models.network("llama")
    plain, ours = engines(network, graphs=Frozen(network.device))
    assert ours.network.verify() == Message("why.loop.captured")
    check_same(steps(ours), steps(plain))


# ---- who chooses it


def test_never_on_a_cpu(tiny_folder: Folder) -> None:
    engine = engine_of(load_model(str(tiny_folder("llama")), device="cpu", dtype="float32"))
    assert not isinstance(engine.network, CudaGraphDecoder)
    assert cuda_graph_decoder.NAME not in engine.info.engine
    assert "plain loop" not in engine.info.why


def test_the_header_says_which_way_and_why(tiny_folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    def chosen(architecture: str) -> tuple[bool, bool, str]:
        loaded = load_model(str(tiny_folder(architecture)), device="cpu", dtype="float32")
        engine = engine_of(loaded, graphs_on="cpu")
        assert len(steps(engine, count=3)) == 3
        reason = next((part for part in engine.info.why.split("; ") if "plain loop" in part), "")
        return isinstance(engine.network, CudaGraphDecoder), engine.info.engine.endswith(", CUDA graph"), reason

    assert chosen("gpt2") == (True, True, "")
    assert chosen("mamba") == (False, False, "the plain loop, because this architecture has no CUDA graph")
    assert chosen("falcon") == (False, False, "the plain loop, because the CUDA graph could not be captured")
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    network, plain = tiny_models.network("gpt2").eval(), object()
    assert cuda_graph_decoder.decoder_or_plain(network, plain) == (  # type: ignore[arg-type]
        plain,
        "the plain loop, because a lent GPU keeps no CUDA graph",
    )


@pytest.mark.parametrize("language", assets.texts())
def test_the_reasons_are_translated_into_every_language(language: str) -> None:
    english, theirs = assets.texts()["en"], assets.texts()[language]
    for reason in (
        Message("why.loop.lent"),
        Message("why.loop.family"),
        Message("why.loop.captured"),
    ):
        key = next(key for key, text in english.items() if text == reason)
        assert key.startswith("server.why.")
        assert "CUDA" in theirs[key]


# ---- the page's engine


def crowd(engine: Any, prompts: Any, *, count: int = 16) -> list[list[StepScores]]:
    """As many visitors as prompts at once, in threads."""
    written: list[list[StepScores]] = [[] for _ in prompts]
    meet = threading.Barrier(len(prompts))

    def visit(number: int) -> None:
        meet.wait(300)
        written[number] = steps(engine, prompts[number], count=count)

    visitors = [threading.Thread(target=visit, args=(number,)) for number in range(len(prompts))]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join(300)
    return written


def test_a_single_run_uses_its_own_graph_and_many_runs_share_one(llama: tuple[Any, Any]) -> None:
    plain, ours = llama
    prompts = [IDS[n:] for n in range(7)]
    expected = [steps(plain, ids, count=16) for ids in prompts]
    shared, shared_by = BatchedEngine(ours), []
    check_same(steps(shared, count=16), expected[0])
    assert sizes(ours) == [(1, captured_step.COLUMNS)]
    before_each_pass(plain.network.network, lambda shape: shared_by.append(shape[0]))
    for mine, theirs in zip(crowd(shared, prompts), expected, strict=True):
        check_same(mine, theirs)
    assert max(shared_by) > 2
    forced = {3: 9}
    check_same(steps(shared, count=8, forced=forced), steps(plain, count=8, forced=forced))


def test_a_batch_that_fails_is_read_anew(llama: tuple[Any, Any]) -> None:
    plain, ours = llama
    prompts = [IDS[n:] for n in range(4)]
    expected = [steps(plain, ids, count=16) for ids in prompts]
    failed: list[int] = []

    def failing_at_first(new_batch: Callable[[int], Any]) -> Callable[[int], Any]:
        def made(max_rows: int) -> Any:
            batch = new_batch(max_rows)
            step = batch.step

            def fail(ids: Any) -> Any:
                if failed:
                    return step(ids)
                failed.append(len(ids))
                raise MemoryError("no memory for a longer text in the batch")

            batch.step = fail
            return batch

        return made

    shared = BatchedEngine(watched(ours, new_batch=failing_at_first))
    for mine, theirs in zip(crowd(shared, prompts), expected, strict=True):
        check_same(mine, theirs)
    assert failed
    for mine, theirs in zip(crowd(shared, prompts), expected, strict=True):
        check_same(mine, theirs)
