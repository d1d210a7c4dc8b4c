"""Repetition in ids written by hand, and against a slow search that takes every span by itself."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import decoding
from decoding.record.repetition import Loop, find_loops
from decoding.record.tokens import Token
from decoding.record.trace import NO_ID, Trace
from tests.fakes import ScriptedEngine

# Ids as letters; what is found as (start, period, repeats).
CASES: dict[str, tuple[str, list[tuple[int, int, int]]]] = {
    "nothing": ("", []),
    "one id": ("a", []),
    "no loop": ("abcdefgh", []),
    "ids come back, but not back to back": ("abcxabcyabc", []),
    "from the start": ("abcabcabc", [(0, 3, 3)]),
    "after a beginning": ("xyabcabc", [(2, 3, 2)]),
    "with an end": ("abcabcx", [(0, 3, 2)]),
    "in the middle": ("xxyabcdabcdz", [(3, 4, 2)]),
    "an unfinished last occurrence": ("xabcabcab", [(1, 3, 2)]),
    "almost three times": ("abcdabcdabc", [(0, 4, 2)]),
    "one token": ("aaaa", [(0, 1, 4)]),
    "one token three times": ("xaaay", [(1, 1, 3)]),
    "one token twice is none": ("xaay", []),
    "two tokens three times": ("xababab", [(1, 2, 3)]),
    "two tokens twice are none": ("xababy", []),
    "three tokens twice": ("abcabc", [(0, 3, 2)]),
    "the smallest period": ("abababababab", [(0, 2, 6)]),
    "one token, not two or three": ("aaaaaaaa", [(0, 1, 8)]),
    "nested": ("aaabaaabaaab", [(0, 4, 3)]),
    "nested in an unfinished occurrence": ("aaabaaabaaa", [(0, 4, 2)]),
    "nested, and outside as well": ("aaabaaabxccc", [(0, 4, 2), (9, 1, 3)]),
    "a near-repeat": ("abcdabcxabcy", []),
    "a near-repeat of one id": ("aabaabaac", [(0, 3, 2)]),
    "a period that changes": ("abcabcdabcd", [(0, 3, 2), (3, 4, 2)]),
    "a pause": ("abcabcxabcabc", [(0, 3, 2), (7, 3, 2)]),
    "overlapping": ("abcabcabcdabcd", [(0, 3, 3), (6, 4, 2)]),
    "one after the other": ("aaabbb", [(0, 1, 3), (3, 1, 3)]),
}


@pytest.mark.parametrize(("letters", "found"), CASES.values(), ids=CASES)
def test_by_hand(letters: str, found: list[tuple[int, int, int]]) -> None:
    assert find_loops([ord(letter) for letter in letters]) == [Loop(*loop) for loop in found]


def by_every_span(ids: Sequence[int]) -> list[Loop]:
    """Each span by itself: its smallest period, whether it can grow, whether it lies within another."""

    def has(start: int, end: int, period: int) -> bool:
        return start >= 0 and end <= len(ids) and all(ids[i] == ids[i + period] for i in range(start, end - period))

    spans = {}
    for start in range(len(ids)):
        for end in range(start + 2, len(ids) + 1):
            period = next(p for p in range(1, end - start + 1) if has(start, end, p))
            repeats = (end - start) // period
            grows = has(start - 1, end, period) or has(start, end + 1, period)
            if not grows and (repeats >= 3 or (repeats == 2 and period >= 3)):
                spans[start, end] = Loop(start, period, repeats)
    outer = [s for s in spans if not any(o != s and o[0] <= s[0] and s[1] <= o[1] for o in spans)]
    return [spans[span] for span in sorted(outer)]


@settings(max_examples=200)
@given(st.lists(st.integers(0, 2), max_size=22))
def test_against_every_span(ids: list[int]) -> None:
    assert find_loops(ids) == by_every_span(ids)


@settings(max_examples=60)
@given(st.lists(st.integers(0, 9), max_size=3), st.lists(st.integers(0, 9), min_size=3, max_size=5), st.integers(2, 4))
def test_a_planted_loop_is_covered(before: list[int], block: list[int], repeats: int) -> None:
    loops = find_loops([*before, *block * repeats, 77])
    end = len(before) + len(block) * repeats
    assert any(x.start <= len(before) and end - x.period < x.start + x.period * x.repeats <= end for x in loops)


def test_a_thousand_ids_are_quick() -> None:
    assert find_loops(list(range(500)) * 2) == [Loop(0, 500, 2)]


def test_the_loops_of_a_run() -> None:
    trace = decoding.trace(ScriptedEngine(), "a", max_new_tokens=8, top_k=2)
    assert trace.loops == (Loop(0, 3, 2),)
    assert trace.to_jsonl().endswith('{"stop_reason":"steps","loops":[{"start":0,"period":3,"repeats":2}]}\n')
    assert Trace.from_jsonl(trace.to_jsonl()) == trace


@pytest.mark.parametrize(
    "end",
    [
        '{"stop_reason":"steps"}',
        '{"stop_reason":"steps","loops":[]}',
        '{"stop_reason":"steps","loops":[{"start":0,"period":3,"repeats":3}]}',
        '{"stop_reason":"steps","loops":[{"start":1,"period":3,"repeats":2}]}',
    ],
)
def test_loops_that_are_not_the_steps_own_are_refused(end: str) -> None:
    lines = decoding.trace(ScriptedEngine(), "a", max_new_tokens=8, top_k=2).to_jsonl().splitlines()
    with pytest.raises(decoding.FormatError) as refused:
        Trace.from_jsonl("\n".join([*lines[:-1], end]))
    assert str(refused.value) == "Line 10 of the run cannot be right: its loops are not those of its steps."


@pytest.mark.parametrize("reason", ["stopped", "error"])
def test_a_reader_who_lost_the_run_may_end_it_without_its_loops(reason: str) -> None:
    trace = decoding.trace(ScriptedEngine(), "a", max_new_tokens=8, top_k=2)
    lines = trace.to_jsonl().splitlines()
    read = Trace.from_jsonl("\n".join([*lines[:-1], f'{{"stop_reason":"{reason}"}}']))
    assert (read.steps, read.loops) == (trace.steps, trace.loops)


def test_a_run_without_loops_says_nothing_of_them() -> None:
    trace = decoding.trace(ScriptedEngine(), "a", max_new_tokens=3, top_k=2)
    assert trace.to_jsonl().endswith('{"stop_reason":"steps"}\n')


def test_a_record_without_ids_has_no_loops() -> None:
    trace = decoding.trace(ScriptedEngine([{" most": 0.9}]), "a", max_new_tokens=4, top_k=1)
    assert trace.loops == (Loop(0, 1, 4),)
    steps = tuple(replace(step, picked=replace(step.picked, token_id=NO_ID)) for step in trace.steps)
    assert replace(trace, steps=steps, prompt_tokens=(Token(NO_ID, "a"),)).loops == ()


def test_far_too_many_steps_are_refused_before_they_are_read() -> None:
    with pytest.raises(decoding.FormatError) as refused:
        Trace.from_jsonl("{}\n" * 10_003)
    assert str(refused.value) == "A run has at most 1,000 steps; this text has 10,001."
