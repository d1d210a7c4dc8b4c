"""The engine of this process: the classroom loop over a transformers model. Knows caches, and no text but the
vocabulary's.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from decoding.engines import NO_PICKS
from decoding.engines.prefix_cache import Memory
from decoding.engines.torch import direct, graph, lean
from decoding.engines.torch.reading import Reader
from decoding.engines.torch.reading_proof import Proved, prove, unproved
from decoding.engines.torch.softmax import read_scores
from decoding.engines.torch.threads import spare_the_cores
from decoding.greedy import Forward, greedy_loop, score_rows
from decoding.models.catalogue import Entry
from decoding.models.lent import zero_gpu
from decoding.models.loading import Loaded, load_model
from decoding.models.starter import Report, silent
from decoding.pages import taken_ahead
from decoding.record.step import StepScores


def load(model: str | Entry, *, device: str = "auto", dtype: str = "auto", report: Report = silent) -> "LocalEngine":
    """Load a model of the catalogue, or a local folder, and make it ready to decode; an entry of one's own may name any
    repository of the Hub.

    `device` is "auto", "cuda", "mps" or "cpu"; `dtype` is "auto" (float32 where it fits comfortably, else bfloat16),
    "float32", "bfloat16" or "float16". `report` hears of progress. Raises RequestError for a name, device or dtype that
    does not exist, ModelError for a model that cannot be had or does not read forward, RoomError for one that does not
    fit.
    """
    return best(load_model(model, device=device, dtype=dtype, report=report))


def best(loaded: Loaded) -> "LocalEngine":
    """The fastest way of this device that says the same numbers; the run's `model.engine` names it.

    `LocalEngine(loaded)` is the plain way, which every other one is held against.
    """
    ways = []
    if direct.go_direct(loaded.network):
        ways.append(direct.NAME)
        if lean.lighten(loaded.network):
            ways.append(lean.NAME)
        spare_the_cores(loaded.network)
    taken_ahead()  # of no use any more, where the weights stay where they are
    engine = LocalEngine(loaded)
    why = [loaded.info.why, *engine.notes]
    if engine.network.device.type == graph.DEVICE:
        engine.graph, why_not = graph.graph_loop(engine.network, engine.forward)
        (why if why_not else ways).append(why_not or graph.NAME)
    engine.info = replace(loaded.info, engine=", ".join([loaded.info.engine, *ways]), why="; ".join(why))
    return engine


class LocalEngine:
    """See `decoding.engines.Engine`. Making one tries the network with a few ids; raises ModelError for a network that
    does not read forward.
    """

    def __init__(self, loaded: Loaded) -> None:
        self.info = loaded.info
        self.vocabulary = loaded.vocabulary
        self.vocabulary_size = loaded.vocabulary_size
        self.max_top_k: int | None = None
        self.end_ids = loaded.end_ids
        self.beginning_id = loaded.beginning_id
        self.network = loaded.network
        self.memory = Memory()
        self.graph: graph.GraphLoop | None = None  # instead of the plain loop, where `best` found one
        # A GPU that is lent is not here yet; the first run has it.
        self._is_proved = not zero_gpu()
        self._take(prove(self.network, model=self.info.id) if self._is_proved else unproved(self.network))

    def _take(self, proved: Proved) -> None:
        self.reader: Reader = proved.reader
        self.context_length, self.notes = proved.context_length, proved.notes

    def _prove_once(self) -> None:
        if not self._is_proved:
            self._take(prove(self.network, model=self.info.id))
            self._is_proved = True

    def steps(
        self, token_ids: Sequence[int], *, max_new_tokens: int, top_k: int, forced: Mapping[int, int] = NO_PICKS
    ) -> Iterator[StepScores]:
        self._prove_once()
        room = max_new_tokens
        if self.context_length is not None:
            room = max(0, min(room, self.context_length - len(token_ids)))
        last_cache: Any = None
        readouts: list[StepScores] = []

        def forward(unread: Sequence[int], cache: Any) -> tuple[torch.Tensor, Any]:
            nonlocal last_cache
            logits, last_cache = self.forward(unread, cache)
            return logits, last_cache

        loop: Any  # a generator each time
        if forced:
            loop = self._forced(forward, token_ids, max_new_tokens=room, top_k=top_k, forced=forced)
        elif self.graph:
            loop = self.graph(
                forward, token_ids, forced=NO_PICKS, max_new_tokens=room, top_k=top_k, end_ids=self.end_ids
            )
        else:
            loop = greedy_loop(
                forward, token_ids, max_new_tokens=room, top_k=top_k, end_ids=self.end_ids, read=read_scores
            )
        try:
            for readout in loop:
                readouts.append(readout)
                yield readout
        finally:
            loop.close()  # before anything is kept: what a graph has read is then in the cache
            self.memory.keep(token_ids, readouts, last_cache, top_k=top_k)

    def _forced(
        self, forward: Forward, token_ids: Sequence[int], *, max_new_tokens: int, top_k: int, forced: Mapping[int, int]
    ) -> Iterator[StepScores]:
        """What is still remembered of the run, and then the rest of it."""
        recalled = self.memory.recall(token_ids, forced, max_new_tokens=max_new_tokens, top_k=top_k)
        readouts, cache = (recalled.readouts, recalled.cache) if recalled else ((), None)
        yield from readouts
        unread = token_ids if cache is None else [readouts[-1].picked_id if readouts else token_ids[-1]]
        if not readouts or unread[0] not in self.end_ids:
            yield from (self.graph or partial(greedy_loop, read=read_scores))(
                forward,
                unread,
                forced=forced,
                max_new_tokens=max_new_tokens,
                top_k=top_k,
                end_ids=self.end_ids,
                first=len(readouts),
                cache=cache,
            )

    def score(self, token_ids: Sequence[int], continuation_ids: Sequence[int], *, top_k: int) -> Iterator[StepScores]:
        self._prove_once()
        rows = (row for piece in self.reader.rows(token_ids, continuation_ids) for row in piece)
        return score_rows(rows, continuation_ids, top_k=top_k, read=read_scores)

    def forward(self, unread: Sequence[int], cache: Any) -> tuple[torch.Tensor, Any]:
        """One forward pass, see `decoding.greedy.Forward` and `decoding.engines.torch.reading`."""
        logits, cache = self.reader.read(unread, cache)
        return logits[-1], cache
