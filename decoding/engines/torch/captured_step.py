"""Captured steps: one step of many texts, from an id a row to a readout a row, as one CUDA graph.

Steps are captured when they are first needed: for 1, 2, 4 … `most` texts at once, and for a power of two of columns.
Each is compared with the same step uncaptured before it is used. The static cache is as large as all of them need, so
they share it, and the graphs share one memory pool. Owns these sizes, and the memory that they may take. Knows no run:
a text here is a row that reads one id a step.
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

from decoding.engines.torch.cuda_graph import Graphs, NotCapturedError
from decoding.engines.torch.names import cache_name
from decoding.engines.torch.softmax import scores_of
from decoding.engines.torch.static_cache import StaticRows, can_be_static
from decoding.models.devices import free_bytes_on
from decoding.models.resources import is_out_of_memory

TOP = 50
"""Candidates that a captured step ranks, whatever its reader wants."""
COLUMNS, COLUMNS_KEPT = 256, 2048
"""The fewest columns that a step reads (64 steps after a short prompt fit), and the most that are kept while no text is
there.
"""
SHARE = 0.5
"""The part of the free memory that the cache may take."""
AGAIN_SECONDS = 10
"""After so long a size that found no memory is tried again."""
TOLERANCE, COARSE_TOLERANCE = 1e-4, 5e-2
"""How far logits may be off, as a share of the largest, in float32 and in 16 bits: 1e-6 and 1e-2 are usual, and a wrong
mask or position is off by 1.
"""


class NoRoomError(Exception):
    """There is no memory now for one more text, or for a longer one."""


@dataclass(eq=False, slots=True)
class Row:
    """A text's cache while it is a row."""

    number: int


@dataclass(frozen=True, slots=True)
class Logits:
    """What a captured step says of one text."""

    numbers: list[float]
    """See `decoding.engines.torch.softmax.scores_of`."""
    logits: torch.Tensor  # (vocabulary,)


class CapturedSteps:
    """The steps of one network, for at most `most` texts at once; for one thread at a time."""

    def __init__(self, network: PreTrainedModel, *, most: int) -> None:
        self.network, self.most = network, most
        self._device = network.device
        self._graphs = Graphs(network.device)
        self._replays: dict[tuple[int, int], Callable[[], None]] = {}
        self._refused_until: dict[tuple[int, int], float] = {}
        self._cache: StaticRows | None = None
        self.texts: list[Row] = []
        """In the order of the rows."""
        self._cache_name = str(cache_name(network))
        self._options: dict[str, Any] = {"use_cache": True}
        if "logits_to_keep" in inspect.signature(network.forward).parameters:
            self._options["logits_to_keep"] = 1
        self.vocabulary_size: int = network.config.get_text_config(decoder=True).vocab_size

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """The steps that are captured: (rows, columns)."""
        return list(self._replays)

    @torch.inference_mode()
    def insert(self, cache: Any) -> Row:
        """Make a row of a text that has read what `cache` holds, which stays as it is. Raises NoRoomError."""
        if len(self.texts) >= self.most or not can_be_static(self.network, cache):
            raise NoRoomError
        if self._cache is None:
            self._cache = StaticRows(self.network, cache)
        self._reserve(self._cache, len(self.texts) + 1, int(cache.get_seq_length()) + 1)
        self.texts.append(Row(self._cache.append(cache)))
        return self.texts[-1]

    @torch.inference_mode()
    def step(self, token_ids: Sequence[int]) -> list[Logits]:
        """Read one id for each text, in the order of their rows. Raises NoRoomError, and then nothing was read."""
        cache = self._cache
        assert cache is not None
        count, columns = len(token_ids), max(cache.lengths) + 1
        self._reserve(cache, count, columns)
        size = self._size(count, columns)
        cache.set_inputs(token_ids)
        (self._replays.get(size) or self._capture(size))()
        self._host[:count].copy_(self._numbers[:count], non_blocking=True)
        if self._device.type == "cuda":
            arrived = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]  # others have the core meanwhile
            arrived.record()
            arrived.synchronize()
        cache.lengths = [length + 1 for length in cache.lengths]
        return [Logits(*each) for each in zip(self._host[:count].tolist(), self._logits[:count].clone(), strict=True)]

    @torch.inference_mode()
    @torch.inference_mode()
    def copy(self, text: Row) -> Any:
        """A cache of its own with what a text has read."""
        assert self._cache is not None
        return self._cache.copy(text.number)

    @torch.inference_mode()
    def remove(self, text: Row) -> None:
        """Forget a text. The last one takes its row."""
        assert self._cache is not None
        self._cache.remove(text.number)
        self.texts[text.number] = self.texts[-1]
        self.texts[text.number].number = text.number
        self.texts.pop()
        if not self.texts and self._cache.columns > COLUMNS_KEPT:
            self._drop()

    # ---- sizes

    def _size(self, rows: int, columns: int) -> tuple[int, int]:
        """Of the captured step that serves so many rows, and columns."""
        return _power_of_two(rows), max(COLUMNS, _power_of_two(columns))

    def _drop(self) -> None:
        self._replays.clear()
        self._graphs.drop()
        self._cache = None

    def bytes_to_insert(self, lengths: Sequence[int]) -> int:
        """What the cache takes where so many more texts need a larger one; 0 where there is one text's cache yet."""
        cache, rows, columns = self._cache, len(self.texts) + len(lengths), max(lengths, default=0) + 1
        if cache is None or (rows <= cache.rows and columns <= cache.columns):
            return 0
        return cache.bytes_for(_power_of_two(rows), self._columns_for(cache, columns))

    def _columns_for(self, cache: StaticRows, columns: int) -> int:
        return max(cache.columns, 2 * COLUMNS, _power_of_two(columns))

    def _reserve(self, cache: StaticRows, rows: int, columns: int) -> None:
        """Have room for so many rows and columns, and for as many more rows as there is memory for: to grow is to
        capture all steps anew. Raises NoRoomError.
        """
        if rows <= cache.rows and columns <= cache.columns:
            return
        columns = self._columns_for(cache, columns)
        free = free_bytes_on(self._device.type)
        fitting = _halves(_power_of_two(self.most), _power_of_two(rows))
        if free is not None:
            fitting = (most for most in fitting if cache.bytes_for(most, columns) <= SHARE * free)
        if (most := next(fitting, None)) is None:
            raise NoRoomError
        self._replays.clear()
        self._graphs.drop()
        try:
            logits = torch.zeros(most, self.vocabulary_size, device=self._device)
            numbers = scores_of(logits, TOP)  # (rows, numbers)
            host = torch.empty_like(numbers, device="cpu", pin_memory=self._device.type == "cuda")
            cache.resize(most, columns)
        except (MemoryError, RuntimeError) as error:  # torch's are RuntimeErrors
            raise NoRoomError from error
        self._logits, self._numbers, self._host = logits, numbers, host

    def _capture(self, size: tuple[int, int]) -> Callable[[], None]:
        """A captured step, or where that cannot be had the step itself. It is compared with itself uncaptured: made
        again, a step writes the same numbers.
        """

        def step() -> None:
            self._decode(*size)

        if monotonic() < self._refused_until.get(size, 0):
            return step
        try:
            replay = self._graphs.capture(step)
            step()
            expected = self._logits[: len(self.texts)].clone()
            self._logits.zero_()
            replay()
            for mine, theirs in zip(self._logits, expected, strict=False):
                self.compare(mine, theirs)
        except Exception as error:
            passes = error.passes if isinstance(error, NotCapturedError) else is_out_of_memory(error)
            self._refused_until[size] = monotonic() + AGAIN_SECONDS if passes else math.inf
            logging.getLogger(__name__).warning("a step was not captured, and goes on as it is", exc_info=True)
            return step
        self._replays[size] = replay
        return replay

    def _decode(self, rows: int, columns: int) -> None:
        """One step of `rows` texts over tensors that never move. Nothing here may ask the host for a number."""
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
        self._numbers[:rows].copy_(scores_of(self._logits[:rows], TOP))

    def compare(self, mine: torch.Tensor, expected: torch.Tensor) -> None:
        """Raises NotCapturedError where one text's logits, shape (vocabulary,), are not the expected ones."""
        tolerance = TOLERANCE if self.network.dtype == torch.float32 else COARSE_TOLERANCE
        difference, largest = (mine - expected.float()).abs().max(), expected.float().abs().max()
        if not difference <= tolerance * largest and bool(largest.isfinite()):
            raise NotCapturedError(f"a step was off by {difference:.2g} of {largest:.2g}", passes=False)


def _power_of_two(number: int) -> int:
    """The smallest one that is not smaller."""
    return 1 << (number - 1).bit_length()


def _halves(largest: int, smallest: int) -> Iterator[int]:
    while largest >= smallest:
        yield largest
        largest //= 2
