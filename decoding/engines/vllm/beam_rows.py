"""The beams of a search on a vLLM server: see `decoding.beam.Rows`.

Owns which ids are sent. The server keeps what texts have in common, so each row sends its whole text and asks for one
token. Knows no search and no HTTP.
"""

from collections.abc import Callable, Sequence

from decoding.record.step import StepScores

ReadNext = Callable[[Sequence[int], int], StepScores]
"""(ids, top_k) → the scores of the token after them."""


class ServedRows:
    def __init__(self, read_next: ReadNext, token_ids: Sequence[int]) -> None:
        self._read_next = read_next
        self._rows: list[tuple[int, ...]] = [tuple(token_ids)]

    def begin(self, top_k: int) -> StepScores:
        return self._read_next(self._rows[0], top_k)

    def advance(self, picks: Sequence[tuple[int, int]], top_k: int) -> list[StepScores]:
        self._rows = [(*self._rows[row], token_id) for row, token_id in picks]
        return [self._read_next(row, top_k) for row in self._rows]
