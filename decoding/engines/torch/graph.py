"""The best way on a CUDA GPU: a whole step recorded once as a CUDA graph, and played again for each token.

A step of a large model launches a thousand small kernels, and Python takes longer to ask for them than the GPU to run
them. Here a step is one function over tensors that never move (one id read, softmax, ranking, entropy, and the next id
written where the next step reads it), so that the GPU goes from step to step by itself; what people see comes behind,
see `decoding.engines.torch.readback`. Picks that argmax did not make are written beside the text beforehand. The
prompt is read by the network as always, so the first step is the plain loop's own.

A recording is for a cache of one size (`decoding.engines.torch.static_cache`), in powers of two, so that a short run
does not attend to thousands of empty columns. Nothing is taken on trust: each is held against the network before it is
used. What cannot be recorded goes through the plain loop. Recording is a seam: the same step runs unrecorded, on any
device.
"""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import torch
from transformers import DynamicCache, PreTrainedModel

from decoding.engines.torch.captured_step import TOP, RecordedStep, capture, readout_of
from decoding.engines.torch.network import can_crop
from decoding.engines.torch.readback import PinnedPost, Post, fly
from decoding.engines.torch.softmax import read_scores
from decoding.engines.torch.static_cache import bytes_of, can_fix
from decoding.greedy import Forward, greedy_loop
from decoding.models.devices import free_on
from decoding.models.lent import zero_gpu
from decoding.record.step import StepScores

DEVICE = "cuda"
"""The kind of device that has graphs to record."""
NAME = "CUDA graph"
"""What a run's `model.engine` says of it."""
NOT_LENT = "the plain loop, because a lent GPU keeps no CUDA graph"
NOT_THIS_FAMILY = "the plain loop, because this architecture has no CUDA graph"
NOT_CAPTURED = "the plain loop, because the CUDA graph could not be captured"
SMALLEST = 256
"""Columns of the smallest cache: 64 steps after a short prompt fit."""
MOST = 2
"""Recordings kept, each with its cache."""

Record = Callable[[RecordedStep], Callable[[], None]]
"""Makes a step repeatable: what it returns makes one step each time."""


class GraphLoop:
    """`decoding.greedy.greedy_loop` for one network, by recorded steps. One text at a time goes this way; whoever comes
    meanwhile takes the plain loop.
    """

    def __init__(
        self,
        network: PreTrainedModel,
        forward: Forward,
        *,
        record: Record,
        post: Callable[[torch.Tensor], Post],
    ) -> None:
        self._network, self._forward = network, forward
        self._record, self._post = record, post
        self._steps: OrderedDict[int, tuple[RecordedStep, Callable[[], None], Post]] = OrderedDict()
        self._refused: set[int] = set()
        self._one_at_a_time = threading.Lock()

    @torch.inference_mode()
    def __call__(
        self,
        forward: Forward,
        unread: Sequence[int],
        *,
        forced: Mapping[int, int],
        max_new_tokens: int,
        top_k: int,
        end_ids: Collection[int] = (),
        first: int = 0,
        cache: Any = None,
    ) -> Iterator[StepScores]:
        """See `decoding.greedy.greedy_loop`. The cache that `forward` returns holds the whole text in the end."""
        plain: dict[str, Any] = {"forced": forced, "max_new_tokens": max_new_tokens, "top_k": top_k, "end_ids": end_ids}
        if top_k > TOP or not self._one_at_a_time.acquire(blocking=False):
            yield from greedy_loop(forward, unread, first=first, cache=cache, read=read_scores, **plain)
            return
        try:
            if first >= max_new_tokens:
                return
            logits, cache = forward(unread, cache)  # (vocabulary,)
            readout = read_scores(logits, top_k, forced.get(first))
            yield readout
            picked, first = forced.get(first, readout.token_ids[0]), first + 1
            if picked in end_ids or first >= max_new_tokens:
                return
            recorded = self._step_for(cache, steps=max_new_tokens - first)
            if recorded is None:
                yield from greedy_loop(forward, [picked], first=first, cache=cache, read=read_scores, **plain)
                return
            length = int(cache.get_seq_length())
            picks = {length + index - first + 1: token_id for index, token_id in forced.items() if index >= first}
            yield from _play(recorded, cache, picked, picks, max_new_tokens - first, top_k=top_k, end_ids=end_ids)
        finally:
            self._one_at_a_time.release()

    def _step_for(self, cache: Any, *, steps: int) -> tuple[RecordedStep, Callable[[], None], Post] | None:
        """A step with room for so many after what the cache holds, recorded now where it is not yet; None where it
        cannot be.
        """
        if not can_fix(self._network, cache):
            return None
        columns = max(SMALLEST, 1 << (int(cache.get_seq_length()) + steps - 1).bit_length())
        if columns in self._steps:
            self._steps.move_to_end(columns)
            return self._steps[columns]
        if columns in self._refused:
            return None
        while len(self._steps) >= MOST:
            self._steps.popitem(last=False)
        free = free_on(self._network.device.type)
        if free is not None and 2 * bytes_of(cache, size=columns) > free:
            return None
        try:
            self._steps[columns] = self._make(columns)
        except Exception:  # whatever a model does that a recording cannot bear
            logging.getLogger(__name__).warning("a step could not be recorded; the plain loop goes on", exc_info=True)
            self._refused.add(columns)
            return None
        return self._steps[columns]

    def _make(self, columns: int) -> tuple[RecordedStep, Callable[[], None], Post]:
        """Record a step and hold it against the network: a few ids, read one by one."""
        vocabulary = self._network.config.get_text_config(decoder=True).vocab_size
        ids = [token_id % vocabulary for token_id in range(3, 9)]
        _, cache = self._forward(ids[:3], None)
        step = RecordedStep(self._network, cache, size=columns)
        step.load(cache, ids[3], {})
        play = self._record(step)
        step.load(cache, ids[3], {4: ids[4], 5: ids[5]})
        for token_id in ids[3:]:
            play()
            expected, cache = self._forward([token_id], cache)
            step.check(expected)
        return step, play, self._post(step.numbers)

    def prove(self) -> str:
        """Record the smallest step. Returns "", or else why this network takes the plain loop."""
        with torch.inference_mode():
            _, cache = self._forward([0, 1, 2], None)
            if not can_fix(self._network, cache):
                return NOT_THIS_FAMILY
            return "" if self._step_for(cache, steps=1) else NOT_CAPTURED


def _play(
    recorded: tuple[RecordedStep, Callable[[], None], Post],
    cache: DynamicCache,
    token_id: int,
    picks: Mapping[int, int],
    steps: int,
    *,
    top_k: int,
    end_ids: Collection[int],
) -> Iterator[StepScores]:
    """So many steps after `token_id`. What ran ahead of an end, or of a reader who left, is thrown away."""
    step, play, post = recorded
    first, said = int(cache.get_seq_length()), 0
    step.load(cache, token_id, picks)

    def launch() -> Any:
        play()
        return post.send(step.numbers)

    try:
        for numbers in fly(launch, steps=steps):
            said += 1
            readout, picked = readout_of(numbers, top_k=top_k, is_forced=first + said in picks)
            yield readout
            if picked in end_ids:
                return
    finally:
        if can_crop(cache):
            step.fixed.unload(cache, until=first + said)


def graph_loop(network: PreTrainedModel, forward: Forward) -> tuple[GraphLoop | None, str]:
    """The loop for a network on a GPU, or None and why it takes the plain one, in the words of the page's header."""
    if zero_gpu():
        return None, NOT_LENT
    try:
        loop = GraphLoop(network, forward, record=capture, post=PinnedPost)
        why_not = loop.prove()
    except Exception:
        logging.getLogger(__name__).warning("no step could be recorded; the plain loop is used", exc_info=True)
        why_not = NOT_CAPTURED
    return (None, why_not) if why_not else (loop, "")
