"""Engines: what computes the scores of a model's steps.

Owns the protocol that all engines implement, and no computation. Each engine has a folder beside this file; everything
above uses `Engine` alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from decoding.beam import BeamStep
from decoding.engines.model_facts import HasFacts
from decoding.record.pick_rule import ARGMAX, PickRule
from decoding.record.step import NO_PICKS, StepScores

__all__ = ["ARGMAX", "ENGINES", "NO_PICKS", "Engine", "PickRule", "is_server"]

ENGINES = ("auto", "torch")
"""The engines of this process: "auto" chooses by device, "torch" uses transformers' network everywhere."""


def is_server(engine: str) -> bool:
    """Whether an engine option is the URL of a server."""
    return bool(engine) and engine not in ENGINES


class Engine(HasFacts, Protocol):
    """A model that is ready to decode.

    `vocabulary_size` counts the ids that have logits. `context_length` is None if the model has no limit, `max_top_k`
    if the engine has none. `end_ids` end a text; `beginning_id` starts an empty prompt (None: the model has none).

    Thread-safety: a `LocalEngine` serves one run at a time, so its callers must take turns. `BatchedEngine` and
    `ServerEngine` may be used by many threads at once, as may `ZeroGpuEngine`. Each iterator belongs to one thread.
    """

    @property
    def is_outdated(self) -> bool:
        """Whether the model has to be loaded again before its next run: a vLLM server that refused or failed may have
        come back with other settings, and is asked anew what it serves.
        """
        ...

    def steps(
        self,
        token_ids: Sequence[int],
        *,
        max_new_tokens: int,
        top_k: int,
        forced: Mapping[int, int] = NO_PICKS,
        rule: PickRule = ARGMAX,
    ) -> Iterator[StepScores]:
        """Decode from `token_ids`, shape (ids,), at least one; yields the scores of each step as soon as it is known.

        At each step in `forced` (counted from 0) its id is picked; at the others `rule` picks: argmax, unless told
        otherwise. A step's scores have `picked` where argmax did not pick.
        Each has the `top_k` most probable tokens, or fewer if the vocabulary is smaller. Ends after `max_new_tokens`
        steps, after one of `end_ids`, or when the context is full. Raises ModelError if the logits are not finite,
        memory runs out or a server fails, RequestError for a `rule` that the engine cannot follow, and
        WorkCancelledError if the calling thread's visitor has left. Closing the iterator stops the work.
        """
        ...

    def score(self, token_ids: Sequence[int], continuation_ids: Sequence[int], *, top_k: int) -> Iterator[StepScores]:
        """Score a given continuation of `token_ids`; both have at least one id. Yields the scores of each of its
        tokens, which is their `picked`.

        The text is read in as few passes as memory allows, without decoding. Raises what `steps` raises, and
        RequestError if the text is too long for a server or for memory. The caller checks that the text fits into the
        context.
        """
        ...

    def beams(self, token_ids: Sequence[int], *, num_beams: int, max_new_tokens: int, top_k: int) -> Iterator[BeamStep]:
        """Search with `num_beams` beams from `token_ids`, see `decoding.beam`; yields each step as soon as it is known,
        with the `top_k` most probable tokens that could follow each beam.

        Raises what `steps` raises, and RequestError if the beams do not fit into memory, or if they need more
        candidates than a server gives. The caller checks that the steps fit into the context. Closing the iterator
        stops the work.
        """
        ...
