"""Single runs over captured steps: the numbers of the plain loop, with picks, ends and readers who leave."""

import threading
from typing import Any

import pytest
import torch

from decoding.engines.torch import captured_step
from decoding.errors import ModelError
from decoding.messages import Message
from tests import tiny_models
from tests.engines.torch.captured_engines import CAPTURED, IDS, STEPS, check_same, engines, read_prompt, sizes, steps

PLAIN = ("mamba", "rwkv", "recurrent_gemma", "gpt_neo", "mamba2")


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


def test_a_run_that_gives_up_the_graph_without_memory_ends_and_the_other_goes_on(
    llama: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(_: object) -> object:
        raise torch.OutOfMemoryError("no room")

    plain, ours = llama
    first, second = (ours.steps(ids, max_new_tokens=8, top_k=5) for ids in (IDS, IDS[4:]))
    next(first), next(first)  # its second step is a captured one
    got = [next(second)]
    with monkeypatch.context() as patch:
        patch.setattr(ours.network.steps, "copy", no_memory)
        got.append(next(second))
    with pytest.raises(MemoryError):
        next(first)  # never a step over a part of its text
    check_same([*got, *second], steps(plain, IDS[4:], count=8))
    check_same(steps(ours), steps(plain))
