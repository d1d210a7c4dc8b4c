"""An engine, a fake server of it, and the engine of that server, which has to say what the first one says."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from decoding.engines.vllm.client import Patience, ServerClient
from decoding.engines.vllm.engine import ServerEngine
from decoding.engines.vllm.handshake import check_served, list_models
from decoding.greedy import score_rows
from decoding.models.loading import ModelWithoutWeights
from decoding.record.step import StepScores
from tests.fake_vllm import FakeVllm
from tests.fakes import END, ScriptedEngine

PROMPT = "the toy"


class Varied(ScriptedEngine):
    """Logits that hang on every id before them, and so the same however they are asked for; many are equal."""

    def _forward(self, unread: Sequence[int], before: Any) -> tuple[NDArray[np.float32], Any]:
        ids = (*(before or ()), *unread)
        return self._after(ids), ids

    def score(self, token_ids: Sequence[int], continuation_ids: Sequence[int], *, top_k: int) -> Iterator[StepScores]:
        text = (*token_ids, *continuation_ids)
        rows = [self._after(text[:place]) for place in range(len(token_ids), len(text))]
        return score_rows(rows, continuation_ids, top_k=top_k)

    def _after(self, ids: Sequence[int]) -> NDArray[np.float32]:
        draw = np.random.default_rng(hash(tuple(ids)) % 2**31)
        logits = (draw.standard_normal(self.size) * 6).round().astype(np.float32) / 2
        if END in self.end_ids:
            logits[END] = 30.0 if len(ids) == 15 else -30.0
        return logits


PATIENT = Patience(retry_seconds=120.0)
"""A busy machine is slow, not dead."""
HASTY = Patience(retry_seconds=0.4)
"""It does not try again for long. How soon it takes a server for dead is as ever: a busy machine's may be slow."""


class Pair:
    """An engine, a fake server of it, and the engine of that server."""

    def __init__(self, url: str, fake: FakeVllm, patience: Patience = PATIENT) -> None:
        self.url, self.fake, self.local = url, fake, fake.engine
        self.server = engine_of(url, fake, patience=patience)

    def waiting(self, patience: Patience) -> "Pair":
        """The same two, with an engine that waits so long, and has not heard yet that the server lives."""
        return Pair(self.url, self.fake, patience)


def engine_of(url: str, fake: FakeVllm, dtype: str = "auto", patience: Patience = PATIENT) -> ServerEngine:
    """As `connect` makes it, for a model that has no files."""
    wire, local = ServerClient(url, patience), fake.engine
    words = ModelWithoutWeights(
        model=local.info.id,
        names=frozenset({fake.name}),
        vocabulary=local.vocabulary,
        vocabulary_size=local.vocabulary_size,
        end_ids=frozenset(local.end_ids),
        beginning_id=local.beginning_id,
        context_length=local.context_length,
    )
    return ServerEngine(wire, words, check_served(wire, list_models(wire), words), dtype=dtype)


def same(theirs: Sequence[StepScores], ours: Sequence[StepScores]) -> None:
    assert [r.token_ids for r in theirs] == [r.token_ids for r in ours]
    for their, our in zip(theirs, ours, strict=True):
        assert their.logprobs == pytest.approx(our.logprobs, abs=1e-9)
        assert bool(their.picked) == bool(our.picked)
        if their.picked and our.picked:
            assert (their.picked.token_id, their.picked.rank) == (our.picked.token_id, our.picked.rank)
            assert their.picked.logprob == pytest.approx(our.picked.logprob, abs=1e-9)


def both(pair: Pair, steps: int = 8, top_k: int = 5, forced: Mapping[int, int] | None = None) -> list[StepScores]:
    """What the server's engine says, once it is what the engine behind it says."""
    ids, options = pair.local.vocabulary.encode(PROMPT), {"max_new_tokens": steps, "top_k": top_k}
    ours = list(pair.local.steps(ids, forced=forced or {}, **options))
    theirs = list(pair.server.steps(ids, forced=forced or {}, **options))
    same(theirs, ours)
    return theirs
