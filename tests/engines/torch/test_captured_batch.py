"""Many texts in one captured step, alone and behind the page's engine."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch

from decoding.engines.batching.engine import BatchedEngine
from decoding.engines.torch import captured_step
from decoding.engines.torch.captured_step import CapturedSteps
from decoding.engines.torch.cuda_graph_decoder import CapturedBatch
from decoding.engines.torch.running_batch import TorchBatch
from decoding.engines.torch.softmax import read_scores
from decoding.messages import Message
from decoding.record.step import StepScores
from tests import tiny_models
from tests.engines.passes import before_each_pass
from tests.engines.torch.captured_engines import CAPTURED, IDS, check_same, engines, read_prompt, sizes, steps
from tests.watched import watched


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


@pytest.mark.parametrize("rows", [2, 4])
def test_verify_compares_rows_of_different_lengths_with_plain_passes(llama: tuple[Any, Any], rows: int) -> None:
    plain, ours = llama
    together = CapturedSteps(plain.network.network, most=rows)
    assert ours.network.verify(together, rows=rows) == ""
    together._cache.mask = lambda rows, columns: torch.zeros(rows, 1, 1, columns)  # type: ignore[union-attr, method-assign]  # all is seen
    together._replays.clear()
    assert ours.network.verify(together, rows=rows) == Message("why.loop.captured")
    assert together.rows == []


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
