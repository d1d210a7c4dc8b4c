"""The CUDA graph decoder: a network whose steps are captured CUDA graphs.

Owns which sequence has the graph, and the proof that it gives the plain network's numbers. Knows no run and no page.

A step of a large model launches a thousand small kernels, which Python requests more slowly than the GPU runs them. A
captured step is replayed by one call, and its scores come back in one copy. Prompts, and whatever cannot be captured,
use the plain network. A single sequence takes over the graph from the previous one; a batch has graphs of its own.
"""

import logging
import threading
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from decoding.engines.network_protocol import Network, RunningBatch
from decoding.engines.torch.batched_cache import turns_by_longest_text
from decoding.engines.torch.captured_step import MAX_TOP_K, CapturedLogits, CapturedSteps, NoMemoryForRowError, Row
from decoding.engines.torch.network import TorchNetwork
from decoding.engines.torch.softmax import read_scores, to_numpy, unpack_scores
from decoding.engines.torch.static_cache import can_be_static
from decoding.messages import Message
from decoding.models.devices import is_zero_gpu
from decoding.models.resources import is_out_of_memory
from decoding.record.step import StepScores

DEVICE = "cuda"
NAME = "CUDA graph"
"""How a run's `model.engine` names it."""
_ROWS_TO_VERIFY = 4


@dataclass(eq=False, slots=True, weakref_slot=True)
class GraphCache:
    """The cache of a sequence that has, or had, the graph: a row of the static cache, or else the plain network's
    cache.
    """

    row: Row | None
    cache: Any


class CudaGraphDecoder:
    """See `decoding.engines.network_protocol.Network`. `plain` is the plain network over the same weights, and `steps`
    are the captured steps of a single sequence.
    """

    def __init__(self, network: PreTrainedModel, plain: TorchNetwork, steps: CapturedSteps | None = None) -> None:
        self.steps = steps or CapturedSteps(network, most=1)
        self._network, self._plain = network, plain
        self._owner: weakref.ref[GraphCache] | None = None
        self._lock = threading.RLock()  # callers of the library may use several threads

    @property
    def cache_bytes_per_token(self) -> int:
        return self._plain.cache_bytes_per_token

    @property
    def pass_bytes_per_token(self) -> int:
        return self._plain.pass_bytes_per_token

    @property
    def max_read(self) -> int | None:
        return self._plain.max_read

    @property
    def fewest_rows(self) -> int:
        return 2

    @property
    def max_reread(self) -> int:
        return 0

    def can_crop(self, cache: Any) -> bool:
        # Called when a run has ended: the sequence gives up the graph, and its kept cache has its own size.
        try:
            return self._plain.can_crop(self.plain_cache(cache))
        except MemoryError:  # there is no cache to keep
            return False

    def read(self, token_ids: Sequence[int], cache: Any, *, last: int = 1) -> tuple[Any, Any]:
        with self._lock:
            if len(token_ids) == last == 1 and cache is not None:
                try:
                    text = self._claim_graph(cache)
                    return self.steps.step(token_ids), text
                except NoMemoryForRowError:
                    pass
            return self._plain.read(token_ids, self.plain_cache(cache), last=last)

    @property
    def layers(self) -> int:
        return self._plain.layers

    def read_layers(self, token_ids: Sequence[int], cache: Any) -> Any:
        with self._lock:
            return self._plain.read_layers(token_ids, self.plain_cache(cache))

    def copy(self, cache: Any, length: int) -> Any:
        with self._lock:
            if isinstance(cache, GraphCache):
                cache = self.plain_cache(cache) if cache.row is None else self.steps.copy(cache.row)
            return self._plain.copy(cache, length)

    def fork(self, cache: Any) -> Any:
        return self._plain.fork(self.plain_cache(cache))

    def scores(self, logits: Any, top_k: int, picked_id: int | None = None) -> StepScores:
        if not isinstance(logits, CapturedLogits):
            return read_scores(logits, top_k, picked_id)
        if top_k > MAX_TOP_K or picked_id is not None:  # rare, so captured steps do not compute it
            return read_scores(logits.logits, top_k, picked_id)
        return unpack_scores(logits.numbers, top_k)

    def to_numpy(self, logits: Any) -> NDArray[np.float32]:
        return to_numpy(logits.logits if isinstance(logits, CapturedLogits) else logits)

    def new_batch(self, max_rows: int) -> RunningBatch | None:
        """A batch of captured steps, or the plain network's batch if they cannot be shared."""
        if not turns_by_longest_text(self._network):
            batch = CapturedBatch(self, CapturedSteps(self._network, most=max_rows))
            if self.verify(batch.steps, rows=min(max_rows, _ROWS_TO_VERIFY)) == "":
                return batch
        return self._plain.new_batch(max_rows, plain_cache=self.plain_cache)

    def plain_cache(self, cache: Any) -> Any:
        """A cache for the plain network; the one that was given is used up.

        Raises MemoryError if the sequence lost its cache, because there was no memory for one of its own when it gave
        up the graph.
        """
        if not isinstance(cache, GraphCache):
            return cache
        with self._lock:
            if cache.row is not None:
                self._evict()
            if cache.cache is None:
                raise MemoryError("no memory for the cache of a text that gave up the CUDA graph")
            return cache.cache

    def _claim_graph(self, cache: Any) -> GraphCache:
        if isinstance(cache, GraphCache) and cache.row is not None:
            return cache
        self._evict()
        before = self.plain_cache(cache)
        text = GraphCache(self.steps.insert(before), None)
        self._owner = weakref.ref(text)
        return text

    def _evict(self) -> None:
        """Copy the sequence that has the graph into a cache of its own, if it is still in use, and free the row.

        Without memory for it the cache is lost, which the sequence itself hears of at its next read.
        """
        if not self.steps.rows:
            return
        row, owner = self.steps.rows[0], self._owner() if self._owner else None
        try:
            if owner is not None:
                owner.cache = self.steps.copy(row)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        finally:
            self.steps.remove(row)
            if owner is not None:
                owner.row = None

    @torch.inference_mode()
    def verify(self, steps: CapturedSteps | None = None, *, rows: int = 1) -> str:
        """Compare some steps of `rows` sequences of different lengths with the plain network. Returns "", or the reason
        why this network uses the plain loop.
        """
        steps = steps or self.steps
        size = steps.vocabulary_size
        prompts = [[(3 + number) % size] * (2 + number) for number in range(rows)]
        caches = [self._plain.read(prompt, None)[1] for prompt in prompts]
        if not can_be_static(self._network, caches[0]):
            return Message("why.loop.family")
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
            return Message("why.loop.captured")
        finally:
            while steps.rows:
                steps.remove(steps.rows[-1])
        return "" if steps.sizes else Message("why.loop.captured")


class CapturedBatch:
    """See `decoding.engines.network_protocol.RunningBatch`."""

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
        except NoMemoryForRowError as error:
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
        except NoMemoryForRowError as error:
            raise MemoryError("no memory for a longer text in the batch") from error


def decoder_or_plain(network: PreTrainedModel, plain: TorchNetwork) -> tuple[Network, str]:
    """The decoder for a network on a GPU and "", or the plain network and the reason for the page's header."""
    if is_zero_gpu():
        return plain, Message("why.loop.lent")
    try:
        decoder = CudaGraphDecoder(network, plain)
        why_not = decoder.verify()
    except Exception:
        logging.getLogger(__name__).warning("the CUDA graph is not used", exc_info=True)
        why_not = Message("why.loop.captured")
    return (plain, why_not) if why_not else (decoder, "")
