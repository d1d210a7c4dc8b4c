"""The search over beams, by tables: which beams are kept, where ties and ends go, and when it is over."""

import math
from collections.abc import Sequence

import pytest

from decoding.beam import Beam, BeamStep, beam_loop, finished_beams, next_beams
from decoding.record.step import StepScores
from tests.beam_searches import texts

END = 9


class Table:
    """Rows whose scores are written by hand: probabilities of the next ids by the ids so far."""

    def __init__(self, table: dict[tuple[int, ...], dict[int, float]]) -> None:
        self.table, self.rows = table, [()]

    def begin(self, top_k: int) -> StepScores:
        return self._scores((), top_k)

    def advance(self, picks: Sequence[tuple[int, int]], top_k: int) -> list[StepScores]:
        self.rows = [(*self.rows[row], token_id) for row, token_id in picks]
        return [self._scores(row, top_k) for row in self.rows]

    def _scores(self, row: tuple[int, ...], top_k: int) -> StepScores:
        following = sorted(self.table[row].items(), key=lambda pair: (-pair[1], pair[0]))[:top_k]
        return StepScores(
            tuple(i for i, _ in following), tuple(math.log(p) if p else -math.inf for _, p in following), 0
        )


GREED_COSTS = {
    (): {1: 0.5, 2: 0.4, 3: 0.1},
    (1,): {1: 0.4, 2: 0.3, 3: 0.3},
    (2,): {3: 0.9, 1: 0.1},
    (3,): {1: 1.0},
}


def test_the_greedy_beam_may_be_dropped() -> None:
    steps = list(beam_loop(Table(GREED_COSTS), num_beams=2, max_new_tokens=2, top_k=1))
    assert texts(steps) == [[(1,), (2,)], [(2, 3), (1, 1)]]
    assert steps[0].beams == (
        Beam(0, 1, math.log(0.5), 0, math.log(0.5)),
        Beam(0, 2, math.log(0.4), 1, math.log(0.4)),
    )
    assert steps[1].beams[0] == Beam(1, 3, math.log(0.9), 0, math.log(0.4) + math.log(0.9))
    finished = finished_beams(steps, num_beams=2, max_new_tokens=2)
    assert [(text.step, text.place) for text in finished] == [(1, 0), (1, 1)]
    assert finished[0].score == pytest.approx(math.log(0.36) / 2)


def test_both_beams_may_come_from_one() -> None:
    table = {(): {1: 0.9, 2: 0.1}, (1,): {1: 0.5, 2: 0.5}, (2,): {1: 1.0}, (1, 1): {3: 1.0}, (1, 2): {3: 1.0}}
    rows = Table(table)
    steps = list(beam_loop(rows, num_beams=2, max_new_tokens=3, top_k=1))
    assert texts(steps) == [[(1,), (2,)], [(1, 1), (1, 2)], [(1, 1, 3), (1, 2, 3)]]
    assert rows.rows == [(1, 1), (1, 2)]  # the row of (2,) was dropped


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [
        # One beam: the lower id first.
        ({7: 0.25, 4: 0.25, 5: 0.5}, {}, [5, 4]),
        ({4: 0.5, 7: 0.5}, {}, [4, 7]),
        # Two beams: the one that was more probable before, whatever the ids.
        ({8: 0.5, 6: 0.5}, {3: 0.5, 2: 0.5}, [6, 8]),
    ],
)
def test_ties(first: dict[int, float], second: dict[int, float], kept: list[int]) -> None:
    before = (Beam(0, 1, -1.0, 0, -1.0), Beam(0, 2, -1.0, 1, -1.0))[: 2 if second else 1]
    scores = [Table({(): line}).begin(9) for line in (first, second) if line]
    beams = next_beams(before, scores, num_beams=2, end_ids=(), is_last=False)
    assert [beam.token_id for beam in beams] == kept


def test_finished_texts_of_one_score_stand_in_the_order_of_their_ends() -> None:
    half = math.log(0.5)
    steps = [BeamStep((Beam(0, END, half, 0, half, True), Beam(0, 1, half, 1, half)), ())]
    steps.append(BeamStep((Beam(1, 2, half, 0, 2 * half),), ()))
    finished = finished_beams(steps, num_beams=2, max_new_tokens=2)
    assert [(text.step, text.place) for text in finished] == [(0, 0), (1, 0)]


def test_a_text_that_ends_makes_room_for_another() -> None:
    table = {(): {END: 0.5, 1: 0.3, 2: 0.15, 3: 0.05}, (1,): {1: 1.0}, (2,): {1: 1.0}}
    steps = list(beam_loop(Table(table), num_beams=2, max_new_tokens=2, top_k=1, end_ids=[END]))
    assert texts(steps) == [[(END,), (1,), (2,)], [(1, 1), (2, 1)]]
    assert [beam.has_ended for beam in steps[0].beams] == [True, False, False]
    finished = finished_beams(steps, num_beams=2, max_new_tokens=2)
    assert [(text.step, text.place) for text in finished] == [(1, 0), (0, 0)]  # −1.20 / 2 against −0.69


def test_an_end_that_is_not_among_the_first_is_no_end() -> None:
    table = {(): {1: 0.5, 2: 0.3, END: 0.2}, (1,): {1: 1.0}, (2,): {1: 1.0}}
    steps = list(beam_loop(Table(table), num_beams=2, max_new_tokens=2, top_k=1, end_ids=[END]))
    assert texts(steps)[0] == [(1,), (2,)]


def test_the_search_is_over_when_no_beam_is_better_than_what_has_ended() -> None:
    table = {(): {END: 0.5, 1: 0.3, 2: 0.2}, (1,): {END: 0.9, 3: 0.1}, (2,): {3: 1.0}}
    table |= {(2, 3): {3: 0.01}, (1, 3): {3: 0.01}}
    steps = list(beam_loop(Table(table), num_beams=2, max_new_tokens=5, top_k=1, end_ids=[END]))
    # (1, END) has ended with −1.31 / 2, (END,) with −0.69. The best running one, (2, 3), has −1.61 / 2.
    assert texts(steps) == [[(END,), (1,), (2,)], [(1, END), (2, 3), (1, 3)]]


def test_where_everything_ends_the_search_ends() -> None:
    steps = list(beam_loop(Table({(): {END: 1.0, 1: 0.0}}), num_beams=2, max_new_tokens=5, top_k=1, end_ids=[END]))
    assert texts(steps) == [[(END,)]]
