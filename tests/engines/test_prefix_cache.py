"""What is kept between two runs: a branch costs only its own steps, and nothing kept changes a run or is changed."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import DynamicCache

from decoding.engines.local_engine import LocalEngine
from decoding.engines.prefix_cache import PrefixCache
from decoding.engines.torch.engine import load as load_torch
from decoding.engines.torch.network import TorchNetwork, can_crop
from decoding.record.step import ScoredToken, StepScores
from tests import tiny_models
from tests.engines.passes import before_each_pass

Folder = Callable[[str], Path]
PROMPT = list(range(40, 52))
STEPS = 12
WHOLE = ("gpt2", "llama", "qwen3", "gpt_neox")
"""Architectures whose caches hold every position."""


def load(folder: Path) -> LocalEngine:
    return load_torch(str(folder), device="cpu")


def decode(engine: LocalEngine, forced: Mapping[int, int] | None = None, **options: Any) -> list[StepScores]:
    return list(engine.steps(PROMPT, **{"max_new_tokens": STEPS, "top_k": 3, "forced": forced or {}} | options))


def picked(readouts: Sequence[StepScores]) -> list[int]:
    return [readout.picked.token_id if readout.picked else readout.token_ids[0] for readout in readouts]


def check_close(some: Sequence[StepScores], others: Sequence[StepScores]) -> None:
    assert picked(some) == picked(others)
    for one, other in zip(some, others, strict=True):
        assert one.token_ids == other.token_ids
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-5)
        assert one.entropy == pytest.approx(other.entropy, abs=1e-4)
        assert (one.picked is None) == (other.picked is None)
        if one.picked and other.picked:
            assert one.picked.rank == other.picked.rank
            assert one.picked.logprob == pytest.approx(other.picked.logprob, abs=1e-5)


class Counted:
    """How many ids each forward pass of an engine reads."""

    def __init__(self, engine: LocalEngine) -> None:
        self.read: list[int] = []
        before_each_pass(engine.reference(), lambda shape: self.read.append(shape[1]))


# ---- on models


def far(readout: StepScores) -> int:
    """An id that is not among the candidates."""
    return next(token_id for token_id in range(300, 0, -1) if token_id not in readout.token_ids)


@pytest.mark.parametrize(
    ("architecture", "step"),
    [*((a, 5) for a in tiny_models.ARCHITECTURES), *((a, step) for a in WHOLE for step in (0, STEPS - 1))],
)
def test_warm_and_cold_are_one(tiny_folder: Folder, architecture: str, step: int) -> None:
    warm = load(tiny_folder(architecture))
    parent = decode(warm)
    for token_id in (parent[step].token_ids[1], far(parent[step])):
        branch = decode(warm, {step: token_id})
        check_close(branch, decode(load(tiny_folder(architecture)), {step: token_id}))
        assert picked(branch)[: step + 1] == [*picked(parent)[:step], token_id]
        assert [readout.picked is not None for readout in branch] == [n == step for n in range(STEPS)]
    assert decode(warm) == parent  # bit by bit


@pytest.mark.parametrize("architecture", WHOLE)
def test_a_branch_costs_only_its_own_steps(tiny_folder: Folder, architecture: str) -> None:
    engine = load(tiny_folder(architecture))
    counted = Counted(engine)
    parent = decode(engine)
    assert counted.read == [len(PROMPT)] + [1] * (STEPS - 1)
    for step in (0, 5, STEPS - 1):
        # A candidate's numbers are known already; another's need the fork's own logits once more.
        for token_id, passes in ((parent[step].token_ids[1], STEPS - step - 1), (far(parent[step]), STEPS - step)):
            engine.prefix_cache = PrefixCache(engine.network)
            decode(engine)
            counted.read.clear()
            branch = decode(engine, {step: token_id})
            assert counted.read == [1] * passes
            assert branch[:step] == parent[:step]


@pytest.mark.parametrize("architecture", sorted(set(tiny_models.ARCHITECTURES) - set(WHOLE)))
def test_a_cache_that_forgets_is_not_kept(tiny_folder: Folder, architecture: str) -> None:
    engine = load(tiny_folder(architecture))
    decode(engine)
    assert len(engine.prefix_cache) == 0


def test_a_branch_of_a_branch(tiny_folder: Folder) -> None:
    engine, cold = load(tiny_folder("llama")), load(tiny_folder("llama"))
    counted = Counted(engine)
    parent = decode(engine)
    first = {3: far(parent[3])}
    child = decode(engine, first)
    counted.read.clear()
    second = first | {8: child[8].token_ids[2]}
    grandchild = decode(engine, second)
    assert counted.read == [1] * (STEPS - 9)
    assert grandchild[:8] == child[:8]
    cold_run = list(cold.steps(PROMPT, max_new_tokens=STEPS, top_k=3, forced=second))
    check_close(grandchild, cold_run)
    # Back at the first fork, the other way: what the parent wrote there is argmax's pick no longer.
    counted.read.clear()
    check_close(decode(engine, {3: parent[3].token_ids[0]})[4:], parent[4:])
    assert counted.read == []


def test_forcing_what_argmax_picks(tiny_folder: Folder) -> None:
    engine = load(tiny_folder("llama"))
    parent = decode(engine)
    counted = Counted(engine)
    same = decode(engine, {4: parent[4].token_ids[0]})
    assert counted.read == []
    assert same[4].picked == ScoredToken(parent[4].token_ids[0], parent[4].logprobs[0], 0)
    assert [r for n, r in enumerate(same) if n != 4] == [r for n, r in enumerate(parent) if n != 4]


def test_a_longer_run_continues_a_kept_one_and_a_shorter_one_stops(
    tiny_folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = load(tiny_folder("llama"))
    parent = decode(engine)
    counted = Counted(engine)
    pick = {2: parent[2].token_ids[0]}
    assert picked(decode(engine, pick, max_new_tokens=5)) == picked(parent)[:5]
    assert counted.read == []
    longer = decode(engine, pick, max_new_tokens=STEPS + 3)
    assert counted.read == [1, 1, 1]
    check_close(longer, decode(load(tiny_folder("llama")), pick, max_new_tokens=STEPS + 3))


def test_fewer_candidates_are_cut_and_more_are_computed(tiny_folder: Folder) -> None:
    engine = load(tiny_folder("llama"))
    parent = decode(engine, top_k=5)
    counted = Counted(engine)
    pick = {6: parent[6].token_ids[4]}
    few = decode(engine, pick, top_k=2)
    assert counted.read == [1] * (STEPS - 7)
    check_close(few, decode(load(tiny_folder("llama")), pick, top_k=2))
    assert few[6].picked == ScoredToken(parent[6].token_ids[4], parent[6].logprobs[4], 4)
    counted.read.clear()
    assert len(decode(engine, pick, top_k=9)[0].token_ids) == 9
    assert counted.read[0] == len(PROMPT)


@pytest.mark.parametrize("several", [1, 4])
def test_a_run_that_was_closed_is_remembered(
    tiny_folder: Folder, monkeypatch: pytest.MonkeyPatch, several: int
) -> None:
    engine = load(tiny_folder("llama"))
    counted = Counted(engine)
    run: Any = engine.steps(PROMPT, max_new_tokens=STEPS, top_k=3)
    seen = [next(run) for _ in range(several)]
    run.close()
    counted.read.clear()
    branch = decode(engine, {several - 1: seen[-1].token_ids[1]})
    assert counted.read == [1] * (STEPS - several)
    check_close(branch, decode(load(tiny_folder("llama")), {several - 1: seen[-1].token_ids[1]}))


def test_a_run_that_is_never_iterated_is_not_kept(tiny_folder: Folder) -> None:
    engine = load(tiny_folder("llama"))
    engine.steps(PROMPT, max_new_tokens=STEPS, top_k=3).close()  # type: ignore[attr-defined]
    decode(engine, max_new_tokens=0)
    assert len(engine.prefix_cache) == 0


def test_a_prompt_of_one_token(tiny_folder: Folder) -> None:
    engine = load(tiny_folder("llama"))
    parent = list(engine.steps([7], max_new_tokens=3, top_k=3))
    for token_id in (parent[0].token_ids[1], far(parent[0])):
        options: Any = {"max_new_tokens": 3, "top_k": 3, "forced": {0: token_id}}
        check_close(list(engine.steps([7], **options)), list(load(tiny_folder("llama")).steps([7], **options)))


def test_an_end_of_text_that_is_remembered_ends_the_run(tiny_folder: Folder) -> None:
    engine = load(tiny_folder("llama"))
    parent = decode(engine)
    engine.end_ids = frozenset({parent[4].token_ids[1]})
    counted = Counted(engine)
    assert len(decode(engine, {4: parent[4].token_ids[1]})) == 5
    assert counted.read == []


def test_a_plain_run_never_asks(tiny_folder: Folder) -> None:
    engine = load(tiny_folder("llama"))
    parent = decode(engine)

    class Refusing(PrefixCache):
        def recall(self, *_: Any, **__: Any) -> Any:
            raise AssertionError("a plain run asked what is kept")

    engine.prefix_cache = Refusing(engine.network)
    assert decode(engine) == parent
    with pytest.raises(AssertionError):
        decode(engine, {1: 5})


def test_a_branch_has_the_numbers_of_the_latest_run(tiny_folder: Folder) -> None:
    engine = load(tiny_folder("llama"))
    parent = decode(engine)
    (entry,) = engine.prefix_cache._entries.values()
    # The same run with more choices, computed beside others: its last digits differ.
    in_a_batch = [replace(step, entropy=step.entropy + 1e-6) for step in parent]
    engine.prefix_cache.keep(PROMPT, in_a_batch, entry.cache, top_k=9)
    assert decode(engine, {5: parent[5].token_ids[1]})[:5] == in_a_batch[:5]
    assert decode(engine) == parent
    assert decode(engine, {5: parent[5].token_ids[2]})[:5] == parent[:5]


def test_a_branch_does_not_change_the_kept_cache(tiny_folder: Folder) -> None:
    engine = load(tiny_folder("llama"))
    parent = decode(engine)
    (entry,) = engine.prefix_cache._entries.values()
    before = [(layer.keys.clone(), layer.values.clone()) for layer in entry.cache.layers]
    for step in (0, 5, 11):
        decode(engine, {step: far(parent[step])})
    for layer, (keys, values) in zip(entry.cache.layers, before, strict=True):
        assert torch.equal(layer.keys, keys)
        assert torch.equal(layer.values, values)


def test_branches_step_by_step_beside_each_other(tiny_folder: Folder) -> None:
    engine = load(tiny_folder("llama"))
    parent = decode(engine)
    picks = [{}, {5: parent[5].token_ids[1]}, {5: parent[5].token_ids[2]}, {2: far(parent[2])}]
    runs = [engine.steps(PROMPT, max_new_tokens=STEPS, top_k=3, forced=forced) for forced in picks]
    rounds = list(zip(*runs, strict=True))
    for forced, run in zip(picks, zip(*rounds, strict=True), strict=True):
        check_close(run, decode(load(tiny_folder("llama")), forced))


def test_many_threads_at_once(tiny_folder: Folder) -> None:
    engine = load(tiny_folder("llama"))
    engine.prefix_cache = PrefixCache(
        engine.network, max_entries=2
    )  # so that what is kept is let go while others read it
    parent = decode(engine)
    picks = [{step: parent[step].token_ids[1 + step % 2]} for step in range(8)]
    expected = [decode(load(tiny_folder("llama")), forced) for forced in picks]
    got: list[list[StepScores]] = [[] for _ in picks]

    def work(number: int) -> None:
        for _ in range(3):
            got[number] = decode(engine, picks[number])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(picks))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    for one, other in zip(got, expected, strict=True):
        check_close(one, other)
    assert len(engine.prefix_cache) <= 2


# ---- by hand


class ByHand:
    """What a prefix cache asks of a network, over the caches of `cache_of`."""

    cache_bytes_per_token = 2 * 2 * 8
    can_crop, copy = TorchNetwork.can_crop, TorchNetwork.copy


BY_HAND: Any = ByHand()


def cache_of(length: int, *, start: float = 0.0) -> DynamicCache:
    """A cache of two layers, a head and two numbers a position; 16 bytes a position and layer."""
    cache = DynamicCache()
    for layer in range(2):
        numbers = (torch.arange(length * 2.0) + 100 * layer + start).view(1, 1, length, 2)
        cache.update(numbers, -numbers, layer)
    return cache


def readouts_of(*ids: int) -> list[StepScores]:
    """At each step, three candidates: the id given, and the next two."""
    return [StepScores((i, i + 1, i + 2), (-0.5, -1.5, -2.5), 1.0) for i in ids]


def test_the_longest_kept_prefix_is_used() -> None:
    memory = PrefixCache(BY_HAND)
    memory.keep([1, 2], readouts_of(10, 20), cache_of(3, start=7), top_k=3)
    memory.keep([1, 2], readouts_of(10, 20, 30, 40), cache_of(5), top_k=3)
    memory.keep([1, 3], readouts_of(10, 20, 30, 40, 50), cache_of(6, start=9), top_k=3)
    found = memory.recall([1, 2], {2: 31}, max_new_tokens=9, top_k=3)
    assert found is not None
    assert found.steps == (
        *readouts_of(10, 20),
        StepScores((30, 31, 32), (-0.5, -1.5, -2.5), 1.0, ScoredToken(31, -1.5, 1)),
    )
    # Two of the prompt, and the picks 10 and 20; 31 is to be read next.
    assert [layer.keys.shape[-2] for layer in found.cache.layers] == [4, 4]
    assert torch.equal(found.cache.layers[1].keys, cache_of(4).layers[1].keys)


@pytest.mark.parametrize(
    ("forced", "steps"),
    [({0: 99}, 0), ({0: 11}, 1), ({1: 99}, 1), ({1: 20}, 3), ({2: 30}, 3), ({7: 1}, 3), ({1: 22, 2: 30}, 2)],
)
def test_how_much_is_the_same(forced: dict[int, int], steps: int) -> None:
    memory = PrefixCache(BY_HAND)
    memory.keep([1, 2], readouts_of(10, 20, 30), cache_of(4), top_k=3)
    found = memory.recall([1, 2], forced, max_new_tokens=9, top_k=3)
    assert (len(found.steps) if found else 0) == steps
    if found:
        assert found.cache.get_seq_length() == 2 + steps - 1


def test_another_prompt_is_another_run() -> None:
    memory = PrefixCache(BY_HAND)
    memory.keep([1, 2], readouts_of(10), cache_of(2), top_k=3)
    for prompt in ([1], [1, 2, 10], [2, 1], [], [1, 3]):
        assert memory.recall(prompt, {3: 1}, max_new_tokens=9, top_k=3) is None
    assert memory.recall([1, 2], {3: 1}, max_new_tokens=9, top_k=4) is None


def test_the_bounds() -> None:
    memory = PrefixCache(BY_HAND, max_entries=3, max_bytes=2 * 2 * 8 * 20)  # 20 positions of cache_of
    for prompt in range(5):
        memory.keep([prompt], readouts_of(10), cache_of(2), top_k=3)
    assert len(memory) == 3
    assert memory.recall([1], {5: 1}, max_new_tokens=9, top_k=3) is None
    # What was asked for stays longest.
    assert memory.recall([2], {5: 1}, max_new_tokens=9, top_k=3) is not None
    memory.keep([5] * 16, readouts_of(10), cache_of(17), top_k=3)
    assert memory.size == 2 * 2 * 8 * 19
    assert memory.recall([2], {5: 1}, max_new_tokens=9, top_k=3) is not None
    assert memory.recall([4], {5: 1}, max_new_tokens=9, top_k=3) is None
    memory.keep([6] * 20, readouts_of(10), cache_of(21), top_k=3)  # too large by itself: nothing else has to go for it
    assert (len(memory), memory.recall([6] * 20, {5: 1}, max_new_tokens=9, top_k=3)) == (2, None)
    memory.keep([5] * 16, readouts_of(10), cache_of(17), top_k=3)  # the same run again counts once
    assert (len(memory), memory.size) == (2, 2 * 2 * 8 * 19)


@torch.inference_mode()
def test_a_copy_shares_nothing() -> None:
    cache = cache_of(5)
    copy = BY_HAND.copy(cache, 3)
    for ours, theirs in zip(copy.layers, cache.layers, strict=True):
        assert torch.equal(ours.keys, theirs.keys[..., :3, :])
        ours.keys.fill_(9.0)
        ours.values.fill_(9.0)
    assert torch.equal(cache.layers[0].keys, cache_of(5).layers[0].keys)
    assert torch.equal(cache.layers[1].values, cache_of(5).layers[1].values)
    copy.update(torch.ones(1, 1, 1, 2), torch.ones(1, 1, 1, 2), 0)
    assert cache.get_seq_length() == 5


def test_it_crops_as_the_library_does() -> None:
    ours, theirs = BY_HAND.copy(cache_of(5), 3), cache_of(5)
    theirs.crop(-2)  # transformers 5: how many to remove, and a negative number
    assert ours.get_seq_length() == theirs.get_seq_length() == 3
    assert torch.equal(ours.layers[1].values, theirs.layers[1].values)


@pytest.mark.parametrize("cache", [None, [1, 2, 3], object(), ((torch.zeros(1),),)], ids=["None", "ids", "any", "old"])
def test_caches_that_cannot_be_cropped_are_not_kept(cache: Any) -> None:
    assert not can_crop(cache)
    memory = PrefixCache(BY_HAND)
    memory.keep([1], readouts_of(10), cache, top_k=3)
    assert len(memory) == 0
