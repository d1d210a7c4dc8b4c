"""The local engine: the classroom loop over a network in this process.

Owns one run at a time: how far it may go, the chunks in which a long prompt is read, and what is kept of it. Knows ids
and the protocol of `decoding.engines.network_protocol`, and no library that computes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from decoding.beam import BeamStep, beam_loop
from decoding.cancellation import raise_if_cancelled
from decoding.engines.branching_caches import NetworkRows, check_beam_memory
from decoding.engines.model_facts import EngineOfModel, ModelFacts
from decoding.engines.network_protocol import Cache, Logits, Network
from decoding.engines.prefix_cache import PrefixCache
from decoding.greedy import greedy_loop, score_rows
from decoding.record.pick_rule import ARGMAX, PickRule
from decoding.record.step import NO_PICKS, StepScores
from decoding.sampling import reader

SCORED_NUMBERS = 2**24
"""The most logits that one pass over a given text returns: 67 MB, or 64 positions of a vocabulary of 262,144."""


class LocalEngine(EngineOfModel):
    """See `decoding.engines.Engine`. Not thread-safe: one run at a time. `decoding.engines.batching` serves many."""

    def __init__(self, facts: ModelFacts, network: Network, *, reference: Callable[[], Any] | None = None) -> None:
        super().__init__(facts)
        self.network = network
        self.prefix_cache = PrefixCache(network)
        self.scored_numbers = SCORED_NUMBERS
        self.reference = reference
        """Loads transformers' network of the same weights, for the proof by `generate`; None if there is none.
        """

    def steps(
        self,
        token_ids: Sequence[int],
        *,
        max_new_tokens: int,
        top_k: int,
        forced: Mapping[int, int] = NO_PICKS,
        rule: PickRule = ARGMAX,
    ) -> Iterator[StepScores]:
        room = max_new_tokens
        if self.context_length is not None:
            room = max(0, min(room, self.context_length - len(token_ids)))
        prefix = None
        if forced or rule.sampling:
            prefix = self.prefix_cache.recall(token_ids, forced, max_new_tokens=room, top_k=top_k, rule=rule)
        done: list[StepScores] = list(prefix.steps) if prefix else []
        cache: Cache = prefix.cache if prefix else None
        unread: Sequence[int] = token_ids
        if prefix:
            unread = [done[-1].picked_id if done else token_ids[-1]]

        def forward(ids: Sequence[int], before: Cache) -> tuple[Logits, Cache]:
            nonlocal cache
            cache = before
            for piece in pieces(ids, self.network.max_read):
                raise_if_cancelled()
                logits, cache = self.network.read(piece, cache)
            return logits[-1], cache

        try:
            yield from done
            if done and unread[0] in self.end_ids:
                return
            for step in greedy_loop(
                forward,
                unread,
                max_new_tokens=room,
                top_k=top_k,
                end_ids=self.end_ids,
                forced=forced,
                first=len(done),
                cache=cache,
                read=reader(self.network, rule, first=len(done)),
            ):
                done.append(step)
                yield step
        finally:
            self.prefix_cache.keep(token_ids, done, cache, top_k=top_k)

    def score(self, token_ids: Sequence[int], continuation_ids: Sequence[int], *, top_k: int) -> Iterator[StepScores]:
        return score_rows(
            self._rows(token_ids, continuation_ids), continuation_ids, top_k=top_k, read=self.network.scores
        )

    def beams(self, token_ids: Sequence[int], *, num_beams: int, max_new_tokens: int, top_k: int) -> Iterator[BeamStep]:
        check_beam_memory(
            self.network,
            device=self.info.device,
            vocabulary_size=self.vocabulary_size,
            tokens=len(token_ids) + max_new_tokens,
            num_beams=num_beams,
        )
        rows = NetworkRows(self.network, token_ids, max_rows=num_beams)
        options: Any = {"num_beams": num_beams, "max_new_tokens": max_new_tokens, "top_k": top_k}
        return beam_loop(rows, end_ids=self.end_ids, **options)

    def layer_logits(self, token_ids: Sequence[int], picked_ids: Sequence[int] = ()) -> Logits:
        """The logits after `token_ids` and then `picked_ids`, as the last norm and the head read each layer's state
        there: of the embedding, then after each layer; the last of them are the step's own. Shape (layers + 1,
        vocabulary).

        What was kept of a run with these picks is not read again. Raises what `steps` raises.
        """
        forced, room = dict(enumerate(picked_ids)), len(picked_ids)
        prefix = self.prefix_cache.recall(token_ids, forced, max_new_tokens=room, top_k=1)
        text = [*token_ids, *picked_ids]
        cache: Cache = prefix.cache if prefix else None
        read = len(token_ids) + len(prefix.steps) - 1 if prefix else 0
        for piece in pieces(text[read:-1], self.network.max_read) if self.network.max_read else ():
            raise_if_cancelled()
            _, cache = self.network.read(piece, cache)
        raise_if_cancelled()
        return self.network.read_layers(text[-1:] if self.network.max_read else text, cache)

    def _rows(self, token_ids: Sequence[int], continuation_ids: Sequence[int]) -> Iterator[Logits]:
        """The logits before each id of the continuation, each of shape (vocabulary,), in passes of bounded size."""
        cache: Cache = None
        if self.network.max_read is None:  # each pass reads the whole text from its beginning
            text, most = [*token_ids, *continuation_ids[:-1]], max(1, self.scored_numbers // self.vocabulary_size)
            for end in range(len(token_ids), len(text) + 1, most):
                last = min(most, len(text) + 1 - end)
                logits, _ = self.network.read(text[: end + last - 1], None, last=last)
                yield from logits
            return
        at_once = min(self.network.max_read, max(1, self.scored_numbers // self.vocabulary_size))
        for piece in pieces(token_ids[:-1], self.network.max_read):
            raise_if_cancelled()
            _, cache = self.network.read(piece, cache)
        for piece in pieces([token_ids[-1], *continuation_ids[:-1]], at_once):
            raise_if_cancelled()
            logits, cache = self.network.read(piece, cache, last=len(piece))
            yield from logits


def pieces(token_ids: Sequence[int], most: int | None) -> Iterator[Sequence[int]]:
    """The ids in pieces of at most `most`; None: all in one."""
    most = most or max(1, len(token_ids))
    return (token_ids[start : start + most] for start in range(0, len(token_ids), most))
