"""The decoder of a CUDA GPU: a network whose steps are captured CUDA graphs, for the one loop and the one readout.

A step of a large model launches a thousand small kernels, and Python takes longer to ask for them than the GPU to run
them. A captured step is replayed by one call, and its readout comes back in one copy. Prompts, and whatever cannot be
captured, go through the plain network. A text alone takes the graph over from the text that had it before; a batch has
graphs of its own. Owns who has the graph, and the proof that it says what the plain network says.
"""

import logging
import threading
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel

from decoding.engines.network import Network, RunningBatch
from decoding.engines.torch.captured_step import TOP, CapturedSteps, Logits, NoRoomError, Row
from decoding.engines.torch.softmax import read_scores, unpack
from decoding.engines.torch.static_cache import can_be_static
from decoding.models.devices import is_zero_gpu
from decoding.record.step import StepScores

DEVICE = "cuda"
NAME = "CUDA graph"
"""What a run's `model.engine` says of it."""
NOT_LENT = "the plain loop, because a lent GPU keeps no CUDA graph"
NOT_THIS_FAMILY = "the plain loop, because this architecture has no CUDA graph"
NOT_CAPTURED = "the plain loop, because the CUDA graph could not be captured"
_DEPEND_ON_THE_LONGEST = ("dynamic", "longrope")
"""Rotary embeddings of all texts that share a step."""
_ROWS_TO_VERIFY = 4


@dataclass(eq=False, slots=True, weakref_slot=True)
class Text:
    """The cache of a text that has, or had, the graph: a row of the static cache, or else the plain network's."""

    row: Row | None
    cache: Any


class CudaGraphDecoder:
    """See `decoding.engines.network.Network`; `plain` is the plain network, over the same weights."""

    def __init__(self, network: PreTrainedModel, plain: Network) -> None:
        self.steps = CapturedSteps(network, most=1)
        self._network, self._plain = network, plain
        self._holder: weakref.ref[Text] | None = None
        self._lock = threading.RLock()  # the library may decode in several threads

    @property
    def cache_bytes_per_token(self) -> int:
        return self._plain.cache_bytes_per_token

    @property
    def max_read(self) -> int | None:
        return self._plain.max_read

    @property
    def fewest_rows(self) -> int:
        return 2

    def can_crop(self, cache: Any) -> bool:
        # This is asked when a run has ended: the text gives the graph up, and what is kept of it has its own size.
        return self._plain.can_crop(self.plain_cache(cache))

    def read(self, token_ids: Sequence[int], cache: Any, *, last: int = 1) -> tuple[Any, Any]:
        with self._lock:
            if len(token_ids) == last == 1 and cache is not None:
                try:
                    text = self._take_graph(cache)
                    return self.steps.step(token_ids), text
                except NoRoomError:
                    pass
            return self._plain.read(token_ids, self.plain_cache(cache), last=last)

    def copy(self, cache: Any, length: int) -> Any:
        with self._lock:
            if isinstance(cache, Text):
                cache = cache.cache if cache.row is None else self.steps.copy(cache.row)
            return self._plain.copy(cache, length)

    def scores(self, logits: Any, top_k: int, picked_id: int | None = None) -> StepScores:
        if not isinstance(logits, Logits):
            return read_scores(logits, top_k, picked_id)
        if top_k > TOP or picked_id is not None:  # rare, so no captured step has it
            return read_scores(logits.logits, top_k, picked_id)
        return unpack(logits.numbers, top_k)

    def new_batch(self, max_rows: int) -> RunningBatch | None:
        """The plain network's, where this one's steps cannot be shared."""
        ropes = str(getattr(self._network.config.get_text_config(decoder=True), "rope_parameters", None))
        if not any(rope in ropes for rope in _DEPEND_ON_THE_LONGEST):
            batch = CapturedBatch(self, CapturedSteps(self._network, most=max_rows))
            if self.verify(batch.steps, rows=min(max_rows, _ROWS_TO_VERIFY)) == "":
                return batch
        return self._plain.new_batch(max_rows)

    def plain_cache(self, cache: Any) -> Any:
        """A cache as the plain network knows it; the one that was given is used up."""
        if not isinstance(cache, Text):
            return cache
        with self._lock:
            if cache.row is not None:
                self._evict()
            return cache.cache

    def _take_graph(self, cache: Any) -> Text:
        if isinstance(cache, Text) and cache.row is not None:
            return cache
        self._evict()
        before = self.plain_cache(cache)
        text = Text(self.steps.insert(before), None)
        self._holder = weakref.ref(text)
        return text

    def _evict(self) -> None:
        """Have the text that has the graph go on with a cache of its own, if anybody still has it."""
        if not self.steps.texts:
            return
        row, holder = self.steps.texts[0], self._holder() if self._holder else None
        try:
            if holder is not None:
                holder.cache = self.steps.copy(row)
        finally:
            self.steps.remove(row)
            if holder is not None:
                holder.row = None

    @torch.inference_mode()
    def verify(self, steps: CapturedSteps | None = None, *, rows: int = 1) -> str:
        """Compare some steps of so many texts of different lengths with the plain network. Returns "", or why this
        network takes the plain loop.
        """
        steps = steps or self.steps
        size = steps.vocabulary_size
        prompts = [[(3 + number) % size] * (2 + number) for number in range(rows)]
        caches = [self._plain.read(prompt, None)[1] for prompt in prompts]
        if not can_be_static(self._network, caches[0]):
            return NOT_THIS_FAMILY
        try:
            for cache in caches:
                steps.insert(cache)
            for token_id in range(5, 8):
                ids = [(token_id + 7 * number) % size for number in range(rows)]
                for number, mine in enumerate(steps.step(ids)):
                    rows_of_it, caches[number] = self._plain.read([ids[number]], caches[number])
                    steps.compare(mine.logits, rows_of_it[-1])
        except Exception:
            logging.getLogger(__name__).warning("the CUDA graph is not used", exc_info=True)
            return NOT_CAPTURED
        finally:
            while steps.texts:
                steps.remove(steps.texts[-1])
        return "" if steps.sizes else NOT_CAPTURED


class CapturedBatch:
    """See `decoding.engines.network.RunningBatch`."""

    def __init__(self, decoder: CudaGraphDecoder, steps: CapturedSteps) -> None:
        self.steps = steps
        self._decoder = decoder
        self._rows: dict[int, Row] = {}
        self._next = 0

    def bytes_to_insert(self, lengths: Sequence[int]) -> int:
        return self.steps.bytes_to_insert(lengths)

    def insert(self, cache: Any) -> int:
        try:
            row = self.steps.insert(self._decoder.plain_cache(cache))
        except NoRoomError as error:
            raise MemoryError("no memory for one more text in the batch") from error
        self._next += 1
        self._rows[self._next] = row
        return self._next

    def remove(self, row: int) -> Any:
        mine = self._rows.pop(row)
        try:
            return self.steps.copy(mine)
        finally:
            self.steps.remove(mine)

    def step(self, ids: Mapping[int, int]) -> Mapping[int, Any]:
        order = sorted(ids, key=lambda row: self._rows[row].number)
        try:
            return dict(zip(order, self.steps.step([ids[row] for row in order]), strict=True))
        except NoRoomError as error:
            raise MemoryError("no memory for a longer text in the batch") from error


def decoder_or_plain(network: PreTrainedModel, plain: Network) -> tuple[Network, str]:
    """The decoder for a network on a GPU; or the plain network, and in the page's words why."""
    if is_zero_gpu():
        return plain, NOT_LENT
    try:
        decoder = CudaGraphDecoder(network, plain)
        why_not = decoder.verify()
    except Exception:
        logging.getLogger(__name__).warning("the CUDA graph is not used", exc_info=True)
        why_not = NOT_CAPTURED
    return (plain, why_not) if why_not else (decoder, "")
