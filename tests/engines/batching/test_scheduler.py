"""The plan of a round, by tables: who reads a prompt, who shares, who decodes alone, who waits."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decoding.engines.batching.scheduler import LONG_PROMPT, SHORT_PROMPT, Limits, Scheduler
from decoding.engines.batching.sequence import SequenceStatus, TokenSequence
from decoding.record.step import StepScores

STEP = StepScores((7, 8), (-0.5, -1.5), 1.0)
LIMITS = Limits(max_rows=4, max_read=100, chunk=10, ids_per_round=40)
TOGETHER = replace(LIMITS, can_read_together=True)


def waiting(length: int, *, read: int = 0) -> TokenSequence:
    sequence = TokenSequence(tuple(range(length)), {}, 2, [9])
    sequence.unread = sequence.unread[read:]
    return sequence


def decoding_alone(length: int = 5) -> TokenSequence:
    sequence = waiting(length, read=length)
    sequence.append(STEP)
    return sequence


def in_batch(length: int = 5) -> TokenSequence:
    sequence = decoding_alone(length)
    sequence.status = SequenceStatus.IN_BATCH
    return sequence


def always(_: Sequence[int]) -> bool:
    return True


def scheduler(*sequences: TokenSequence, limits: Limits = LIMITS) -> Scheduler:
    made = Scheduler(limits)
    for sequence in sequences:
        made.add(sequence)
    return made


@pytest.mark.parametrize(
    ("lengths", "pieces"),
    [
        ([200], [(0, 100)]),  # nobody else waits: as much as one pass may read
        ([50], [(0, 50)]),
        ([200, 5], [(0, 10), (1, 5)]),  # a piece of the long one, and all of the short one
        ([5, 200], [(0, 5), (1, 10)]),
        ([200, 300, 5], [(0, 10), (2, 5)]),  # two of 32 ids are a round's 40 and more: the shortest, and the oldest
        ([5, 5, 5], [(0, 5), (1, 5)]),
    ],
)
def test_prompts(lengths: list[int], pieces: list[tuple[int, int]]) -> None:
    sequences = [waiting(length) for length in lengths]
    plan = scheduler(*sequences).plan(always)
    assert plan.prefill == tuple((sequences[place], count) for place, count in pieces)
    assert (plan.rows, plan.alone) == ((), ())


@pytest.mark.parametrize(
    ("lengths", "together", "pieces"),
    [
        ([5], [], [(0, 5)]),  # nobody to share the pass with
        ([5, 6, 5], [0, 2, 1], []),
        ([200, 5, 6], [1, 2], [(0, 10)]),  # a piece of a long prompt has a pass of its own
        ([200, 5], [], [(0, 10), (1, 5)]),
        ([2] * 8 + [10], list(range(8)), [(8, 10)]),  # nine texts as wide as the longest would be 90 ids
        ([9] * 6, [0, 1, 2, 3], [(4, 9)]),  # 40 ids fit a pass; the sixth waits
    ],
)
def test_whole_short_prompts_are_read_together(
    lengths: list[int], together: list[int], pieces: list[tuple[int, int]]
) -> None:
    sequences = [waiting(length) for length in lengths]
    plan = scheduler(*sequences, limits=TOGETHER).plan(always)
    assert plan.together == tuple(sequences[place] for place in together)
    assert plan.prefill == tuple((sequences[place], count) for place, count in pieces)


def test_a_prompt_of_which_a_part_was_read_goes_on_alone() -> None:
    begun, others = waiting(12, read=10), [waiting(5), waiting(5)]
    begun.cache = "ten ids"
    plan = scheduler(begun, *others, limits=TOGETHER).plan(always)
    assert (plan.together, plan.prefill) == (tuple(others), ((begun, 2),))


def test_long_prompts_leave_room_for_a_short_one_that_comes_last() -> None:
    """At the product's own limits: the oldest prompt takes half of a round, and the shortest has the next turn."""
    sequences = [*(waiting(3_500) for _ in range(24)), waiting(6)]
    plan = scheduler(*sequences, limits=Limits()).plan(always)
    assert plan.prefill == ((sequences[0], 128), (sequences[-1], 6))


def test_one_long_prompt_is_read_in_a_round() -> None:
    """24 prompts of 2,600 words made each of another visitor's steps take 0.9 s while two were read in a round."""
    sequences = [*(waiting(3_500) for _ in range(24)), decoding_alone(6)]
    assert scheduler(*sequences, limits=Limits()).plan(always).prefill == ((sequences[0], 128),)
    sequences.append(waiting(LONG_PROMPT))
    plan = scheduler(*sequences, limits=Limits()).plan(always)
    assert plan.prefill == ((sequences[0], 128), (sequences[-1], 128)), "one that comes to its end soon"


def test_a_prompt_without_a_reader_is_not_read() -> None:
    left = waiting(5)
    left.wanted_steps.clear()
    assert scheduler(left, waiting(9)).plan(always).prefill[0][1] == 9


def test_a_long_prompt_comes_to_its_end_whatever_arrives() -> None:
    long = waiting(100)
    made = scheduler(long)
    for _ in range(10):
        for _ in range(3):
            made.add(waiting(1))
        plan = made.plan(always)
        for sequence, count in plan.prefill:
            del sequence.unread[:count]
    assert not long.unread


@pytest.mark.parametrize(
    ("rows", "alone", "join", "leave", "shared", "apart"),
    [
        (0, 1, 0, 0, 0, 1),  # one run: no batch
        (0, 2, 2, 0, 2, 0),
        (2, 1, 1, 0, 3, 0),
        (4, 2, 0, 0, 4, 2),  # full: the others decode alone
        (3, 2, 1, 0, 4, 1),
        (1, 0, 0, 1, 0, 1),  # left over
        (1, 1, 1, 0, 2, 0),
    ],
)
def test_which_sequences_share_a_pass(rows: int, alone: int, join: int, leave: int, shared: int, apart: int) -> None:
    sequences = [in_batch() for _ in range(rows)] + [decoding_alone() for _ in range(alone)]
    plan = scheduler(*sequences).plan(always)
    assert [len(plan.join), len(plan.leave), len(plan.rows), len(plan.alone)] == [join, leave, shared, apart]
    assert set(plan.join) <= set(plan.rows)
    assert set(plan.leave) <= set(plan.alone)


@pytest.mark.parametrize(("count", "shared"), [(2, 0), (3, 0), (4, 4)])
def test_sharing_begins_where_it_is_faster(count: int, shared: int) -> None:
    made = scheduler(*(decoding_alone() for _ in range(count)), limits=Limits(max_rows=8))
    assert len(made.plan(always, fewest_rows=4).rows) == shared


def test_a_batch_that_shrinks_below_the_fewest_ends() -> None:
    made = scheduler(*(in_batch() for _ in range(3)), limits=Limits())
    plan = made.plan(always, fewest_rows=4)
    assert (len(plan.leave), len(plan.rows), len(plan.alone)) == (3, 0, 3)


def test_a_sequence_without_memory_decodes_alone() -> None:
    made = scheduler(decoding_alone(5), decoding_alone(6), decoding_alone(700))
    plan = made.plan(lambda lengths: sum(lengths) <= 11)
    assert [sequence.length for sequence in plan.rows] == [5, 6]
    assert [sequence.length for sequence in plan.alone] == [700]
    assert not made.plan(lambda lengths: False).rows


def test_a_network_that_cannot_share() -> None:
    plan = scheduler(*(decoding_alone() for _ in range(3)), limits=Limits(can_share=False)).plan(always)
    assert (len(plan.rows), len(plan.alone)) == (0, 3)


@pytest.mark.parametrize("changes_numbers", [True, False])
def test_a_shared_pass_that_failed(changes_numbers: bool) -> None:
    one, other, third = in_batch(3), in_batch(4), decoding_alone()
    made = scheduler(one, other, third)
    made.batch_failed(changes_numbers=changes_numbers)
    assert [sequence.status for sequence in (one, other, third)] == [
        SequenceStatus.WAITING,
        SequenceStatus.WAITING,
        SequenceStatus.ALONE,
    ]
    assert one.unread == [0, 1, 2, 7]  # the prompt, and the pick
    assert not made.plan(always).rows
    for sequence in (one, other, third):
        made.finish(sequence)
    for _ in range(2):
        made.add(decoding_alone())
    assert bool(made.plan(always).rows) is not changes_numbers


@given(
    st.lists(st.tuples(st.sampled_from(["waiting", "alone", "batch"]), st.integers(1, 300)), max_size=12),
    st.integers(2, 6),
    st.integers(2, 5),
    st.integers(0, 1000),
    st.booleans(),
)
def test_every_sequence_is_in_the_plan_once(
    here: list[tuple[str, int]], max_rows: int, fewest: int, room: int, together: bool
) -> None:
    limits, fewest = replace(TOGETHER, max_rows=max_rows, can_read_together=together), min(fewest, max_rows)
    batch = [length for kind, length in here if kind == "batch"]
    kinds = {"waiting": waiting, "alone": decoding_alone, "batch": in_batch}
    sequences = [kinds[kind](length) for kind, length in here if kind != "batch"]
    sequences += [in_batch(length) for length in batch[:max_rows]]
    plan = scheduler(*sequences, limits=limits).plan(lambda lengths: sum(lengths) <= room, fewest)
    stepping = [*plan.rows, *plan.alone]
    assert len(stepping) == len(set(stepping))
    assert set(stepping) == {s for s in sequences if s.status is not SequenceStatus.WAITING}  # everyone has a step
    assert len(plan.rows) <= max_rows
    assert not plan.rows or len(plan.rows) >= fewest
    prompts = [s for s in sequences if s.status is SequenceStatus.WAITING]
    assert not prompts or prompts[0] in [*plan.together, *(sequence for sequence, _ in plan.prefill)], "the oldest"
    read = [(sequence, len(sequence.unread)) for sequence in plan.together] + list(plan.prefill)
    assert len(read) == len({sequence for sequence, _ in read})
    if together:
        assert len(plan.together) != 1
        assert sum(count for _, count in read) < 50 or len(sequences) == 1, "a round's ids, and the last piece"
        assert len(plan.together) * max((len(s.unread) for s in plan.together), default=0) <= 40
    else:
        assert sum(max(count, SHORT_PROMPT) for _, count in read[:-1]) < 40 or len(sequences) == 1
