"""Captured steps: one step of many sequences, from one id per row to the scores of each row, as a CUDA graph.

Owns the sizes of captured steps, and the memory they may take. Knows no run: a sequence here is a row that reads one id
per step. A step is captured when it is first needed: for 1, 2, 4 … `most` rows, and for a power of two of columns, and
is compared with the uncaptured step before it is used. All steps share one static cache, as large as the largest needs,
and one memory pool.
"""

import inspect
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

import torch
from transformers import PreTrainedModel

from decoding.engines.torch.cache_argument import cache_argument
from decoding.engines.torch.cuda_graph import Graphs, NotCapturedError
from decoding.engines.torch.softmax import pack_scores
from decoding.engines.torch.static_cache import StaticCache, can_be_static
from decoding.models.devices import free_bytes_on
from decoding.models.resources import is_out_of_memory

MAX_TOP_K = 50
"""Candidates that a captured step ranks, however few are wanted."""
COLUMNS, COLUMNS_KEPT = 256, 2048
"""The fewest columns that a step reads (enough for 64 steps after a short prompt), and the most that are kept while
there is no row.
"""
MEMORY_SHARE = 0.5
"""The share of the free memory that the cache may take."""
RETRY_SECONDS = 10
"""A size that found no memory is tried again after this time."""
TOLERANCE, COARSE_TOLERANCE = 1e-4, 5e-2
"""The largest difference of logits, as a share of the largest logit, in float32 and in 16 bits. 1e-6 and 1e-2 are
usual; a wrong mask or position causes about 1.
"""


class NoMemoryForRowError(Exception):
    """There is no memory now for another row, or for a longer one."""


@dataclass(eq=False, slots=True)
class Row:
    """The cache of a sequence while it is a row."""

    number: int


@dataclass(frozen=True, slots=True)
class CapturedLogits:
    """The result of a captured step for one row."""

    numbers: list[float]
    """See `decoding.engines.torch.softmax.pack_scores`."""
    logits: torch.Tensor  # (vocabulary,)


class CapturedSteps:
    """The captured steps of one network, for at most `most` rows. `free_bytes` are those of a type of device, None if
    unknown; `clock` tells a time in seconds. Not thread-safe.
    """

    def __init__(
        self,
        network: PreTrainedModel,
        *,
        most: int,
        columns: int = COLUMNS,
        columns_kept: int = COLUMNS_KEPT,
        graphs: Graphs | None = None,
        free_bytes: Callable[[str], int | None] = free_bytes_on,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.network, self.most = network, most
        self._fewest_columns, self._columns_kept = columns, columns_kept
        self._free_bytes, self._clock = free_bytes, clock
        self._device = network.device
        self._graphs = Graphs(network.device) if graphs is None else graphs
        self._replays: dict[tuple[int, int], Callable[[], None]] = {}
        self._refused_until: dict[tuple[int, int], float] = {}
        self._cache: StaticCache | None = None
        self.rows: list[Row] = []
        """By row number."""
        self._cache_name = str(cache_argument(network))
        self._options: dict[str, Any] = {"use_cache": True}
        if "logits_to_keep" in inspect.signature(network.forward).parameters:
            self._options["logits_to_keep"] = 1
        self.vocabulary_size: int = network.config.get_text_config(decoder=True).vocab_size

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """The sizes of the captured steps: (rows, columns)."""
        return list(self._replays)

    @torch.inference_mode()
    def insert(self, cache: Any) -> Row:
        """Make a row of the sequence in `cache`, which stays as it is. Raises NoMemoryForRowError."""
        if len(self.rows) >= self.most or not can_be_static(self.network, cache):
            raise NoMemoryForRowError
        if self._cache is None:
            self._cache = StaticCache(self.network, cache)
        self._reserve(self._cache, len(self.rows) + 1, int(cache.get_seq_length()) + 1)
        self.rows.append(Row(self._cache.append(cache)))
        return self.rows[-1]

    @torch.inference_mode()
    def step(self, token_ids: Sequence[int]) -> list[CapturedLogits]:
        """Read one id for each row, in the order of their numbers. Raises NoMemoryForRowError, and then nothing was
        read.
        """
        cache = self._cache
        assert cache is not None
        count, columns = len(token_ids), max(cache.lengths) + 1
        self._reserve(cache, count, columns)
        size = self._size(count, columns)
        cache.set_inputs(token_ids)
        (self._replays.get(size) or self._capture(size))()
        self._host[:count].copy_(self._numbers[:count], non_blocking=True)
        if self._device.type == "cuda":
            arrived = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]  # the core is free meanwhile
            arrived.record()
            arrived.synchronize()
        cache.lengths = [length + 1 for length in cache.lengths]
        return [*map(CapturedLogits, self._host[:count].tolist(), self._logits[:count].clone())]

    @torch.inference_mode()
    def copy(self, text: Row) -> Any:
        """A copy of a row as the cache of a single sequence."""
        assert self._cache is not None
        return self._cache.copy(text.number)

    @torch.inference_mode()
    def remove(self, text: Row) -> None:
        """Remove a row. The last row takes its place."""
        assert self._cache is not None
        self._cache.remove(text.number)
        self.rows[text.number] = self.rows[-1]
        self.rows[text.number].number = text.number
        self.rows.pop()
        if not self.rows and self._cache.columns > self._columns_kept:
            self._drop()

    # ---- sizes

    def _size(self, rows: int, columns: int) -> tuple[int, int]:
        """The size of the captured step for this many rows and columns."""
        return _power_of_two(rows), max(self._fewest_columns, _power_of_two(columns))

    def _drop(self) -> None:
        self._replays.clear()
        self._graphs.drop()
        self._cache = None

    def bytes_to_insert(self, lengths: Sequence[int]) -> int:
        """The bytes of a larger cache, if this many more sequences need one; else, and before the first one, 0."""
        cache, rows, columns = self._cache, len(self.rows) + len(lengths), max(lengths, default=0) + 1
        if cache is None or (rows <= cache.rows and columns <= cache.columns):
            return 0
        return cache.bytes_for(_power_of_two(rows), self._columns_for(cache, columns))

    def _columns_for(self, cache: StaticCache, columns: int) -> int:
        return max(cache.columns, 2 * self._fewest_columns, _power_of_two(columns))

    def _reserve(self, cache: StaticCache, rows: int, columns: int) -> None:
        """Make room for this many rows and columns, and for as many more rows as memory allows, because growing means
        capturing all steps again. Raises NoMemoryForRowError.
        """
        if rows <= cache.rows and columns <= cache.columns:
            return
        columns = self._columns_for(cache, columns)
        free = self._free_bytes(self._device.type)
        fitting = _halving(_power_of_two(self.most), _power_of_two(rows))
        if free is not None:
            fitting = (most for most in fitting if cache.bytes_for(most, columns) <= MEMORY_SHARE * free)
        if (most := next(fitting, None)) is None:
            raise NoMemoryForRowError
        self._replays.clear()
        self._graphs.drop()
        try:
            logits = torch.zeros(most, self.vocabulary_size, device=self._device)
            numbers = pack_scores(logits, MAX_TOP_K)  # (rows, numbers)
            host = torch.empty_like(numbers, device="cpu", pin_memory=self._device.type == "cuda")
            cache.resize(most, columns)
        except (MemoryError, RuntimeError) as error:  # torch raises RuntimeErrors
            raise NoMemoryForRowError from error
        self._logits, self._numbers, self._host = logits, numbers, host

    def _capture(self, size: tuple[int, int]) -> Callable[[], None]:
        """Capture a step of a size, or return the step itself if it cannot be captured. The result is compared with the
        uncaptured step; repeating a step writes the same numbers.
        """

        def step() -> None:
            self._decode(*size)

        if self._clock() < self._refused_until.get(size, 0):
            return step
        try:
            replay = self._graphs.capture(step)
            step()
            expected = self._logits[: len(self.rows)].clone()
            self._logits.zero_()
            replay()
            for mine, theirs in zip(self._logits, expected, strict=False):
                self.compare(mine, theirs)
        except Exception as error:
            passes = error.passes if isinstance(error, NotCapturedError) else is_out_of_memory(error)
            self._refused_until[size] = self._clock() + RETRY_SECONDS if passes else math.inf
            logging.getLogger(__name__).warning("a step was not captured, and goes on as it is", exc_info=True)
            return step
        self._replays[size] = replay
        return replay

    def _decode(self, rows: int, columns: int) -> None:
        """One step of `rows` rows over tensors that do not move. It must not read a number on the host."""
        cache = self._cache
        assert cache is not None
        output = self.network(
            input_ids=cache.ids[:rows, None],  # (rows, 1)
            position_ids=cache.places[:rows, None],  # (rows, 1)
            attention_mask=cache.mask(rows, columns),
            **{self._cache_name: cache.cache},
            **self._options,
        )
        self._logits[:rows].copy_(output.logits[:, -1])  # (rows, vocabulary), in float32
        self._numbers[:rows].copy_(pack_scores(self._logits[:rows], MAX_TOP_K))

    def compare(self, mine: torch.Tensor, expected: torch.Tensor) -> None:
        """Raises NotCapturedError if a row's logits, shape (vocabulary,), differ from the expected ones."""
        tolerance = TOLERANCE if self.network.dtype == torch.float32 else COARSE_TOLERANCE
        difference, largest = (mine - expected.float()).abs().max(), expected.float().abs().max()
        if not difference <= tolerance * largest and bool(largest.isfinite()):
            raise NotCapturedError(f"a step was off by {difference:.2g} of {largest:.2g}", passes=False)


def _power_of_two(number: int) -> int:
    """The smallest power of two that is at least `number`."""
    return 1 << (number - 1).bit_length()


def _halving(largest: int, smallest: int) -> Iterator[int]:
    while largest >= smallest:
        yield largest
        largest //= 2
