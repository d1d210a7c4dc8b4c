"""Draws: a text that is sampled, and many of them beside the greedy one.

Owns how often each text and each next token came. Every run is a Trace like any other, which says how it was drawn.
Knows no page; `decoding.sampling` draws.
"""

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import asdict, dataclass, replace
from typing import Any

from decoding.cancellation import raise_if_cancelled
from decoding.engines import Engine
from decoding.errors import RequestError
from decoding.messages import Message
from decoding.record.pick_rule import Sampling
from decoding.record.tokens import join_tokens
from decoding.record.trace import Candidate, Trace
from decoding.requests.run_request import Request, check_request
from decoding.requests.sampling_request import check_draws
from decoding.run import Run


@dataclass(frozen=True, slots=True)
class Draws:
    """Runs that were drawn from one prompt, each with the seed after the one before, and the run of argmax.

    All share the steps before the first that is drawn.
    """

    greedy: Trace
    runs: tuple[Trace, ...]

    @property
    def sampling(self) -> Sampling:
        """How the first run was drawn."""
        sampling = self.runs[0].sampling
        assert sampling is not None
        return sampling

    @property
    def next_tokens(self) -> list[tuple[Candidate, int]]:
        """Each token that came at the first step drawn, or that greedy decoding picks there, and how often it came;
        most often first.
        """
        first = self.sampling.first
        picked = [run.steps[first].picked for run in (self.greedy, *self.runs) if len(run.steps) > first]
        counts = Counter(each.token_id for each in picked[len(self.greedy.steps) > first :])
        known = {each.token_id: each for each in picked}.values()
        return sorted(((each, counts[each.token_id]) for each in known), key=lambda pair: (-pair[1], pair[0].rank))

    @property
    def texts(self) -> list[tuple[Trace, int]]:
        """Each text that came, by a run that wrote it, and how often; most often first, then most probable first."""
        counts = Counter(run.generated_token_ids for run in self.runs)
        known = {run.generated_token_ids: run for run in reversed(self.runs)}
        pairs = [(run, counts[ids]) for ids, run in known.items()]
        return sorted(pairs, key=lambda pair: (-pair[1], -pair[0].logprob))

    def to_json(self) -> str:
        """The draws as one JSON object: how they were drawn, each run, each next token, and the greedy text."""
        greedy, first = self.greedy, self.sampling.first
        return json.dumps(
            {
                "model": greedy.model.id,
                "prompt": greedy.prompt,
                "steps": greedy.max_new_tokens,
                "choices": greedy.top_k,
                "past_end": greedy.past_end,
                "as_message": greedy.as_message,
                "sampling": asdict(self.sampling),
                "forced": [[s.index, s.picked.token_id] for s in greedy.steps if s.chosen],
                "greedy": _told(greedy, first),
                "draws": [{"seed": run.sampling.seed, **_told(run, first)} for run in self.runs if run.sampling],
                "next": [
                    {
                        "token_id": token.token_id,
                        "text": token.text,
                        **({"bytes": token.bytes.hex()} if token.bytes else {}),
                        "probability": token.probability,
                        "rank": token.rank,
                        "count": count,
                    }
                    for token, count in self.next_tokens
                ],
            },
            ensure_ascii=False,
            allow_nan=False,
        )


def _told(run: Trace, first: int) -> dict[str, object]:
    """What is told of a run: its text from the first step drawn on, and its log-probability in all."""
    return {
        "text": join_tokens([step.picked.token for step in run.steps[first:]]),
        "token_ids": list(run.generated_token_ids),
        "logprob": run.logprob,
        "stop_reason": run.stop_reason,
    }


def _given(sampling: object) -> object:
    """How to draw, which `check_request` checks. Raises RequestError for None."""
    if sampling is None:
        raise RequestError(Message("draw.none"), field="sampling")
    return sampling


def sample(
    model: Engine,
    prompt: str,
    *,
    sampling: Sampling,
    max_new_tokens: int,
    top_k: int,
    past_end: bool = False,
    as_message: bool = False,
) -> Trace:
    """Draw a text instead of picking each most probable token. `sampling` says how; its `top_k` and `top_p` cut the
    draw, and the parameter `top_k` is the number of candidates shown, 1 to 50.

    The recorded probabilities stay the model's own, at temperature 1 over the whole vocabulary; each step's `draw` says
    what it was drawn from. The same seed gives the same text on every engine of this machine, see
    `decoding.sampling.draw`. Raises what `trace` raises, and RequestError for a server, which gives no logits.

    >>> how = decoding.Sampling(temperature=0.8, top_k=40, seed=7)
    >>> run = decoding.sample(model, "Transformers are the", sampling=how, max_new_tokens=8, top_k=5)
    >>> [step.draw.kept for step in run.steps]
    [40, 40, 40, 40, 40, 40, 40, 40]
    """
    how: Any = {"past_end": past_end, "sampling": _given(sampling), "as_message": as_message}
    return _finish(model, check_request(prompt, max_new_tokens, top_k, **how))


def draws(
    model: Engine,
    prompt: str,
    *,
    sampling: Sampling,
    max_new_tokens: int,
    top_k: int,
    count: int = 20,
    past_end: bool = False,
    as_message: bool = False,
) -> Draws:
    """Draw `count` texts (2 to 20), with the seeds from `sampling.seed` on, and write the greedy one beside them. Takes
    and raises what `sample` does.

    >>> how = decoding.Sampling(seed=1)
    >>> found = decoding.draws(model, "Transformers are the", sampling=how, max_new_tokens=2, top_k=5, count=4)
    >>> len(found.runs), len(found.texts), found.greedy.generated_text
    (4, 4, ' most efficient')
    """
    how: Any = {"past_end": past_end, "sampling": _given(sampling), "as_message": as_message}
    request = check_request(prompt, max_new_tokens, top_k, **how)
    return draw_runs(model, request, count=count)


def draw_runs(model: Engine, request: Request, *, count: object, at_once: int = 1) -> Draws:
    """The draws of a request that has `sampling`. With `at_once` of more than 1, so many runs share the passes of an
    engine that is thread-safe; they end when the calling thread's visitor leaves.
    """
    assert request.sampling is not None
    number, how = check_draws(count, request.sampling), request.sampling
    # First, so that its prompt is in the prefix cache, and all draws go on from there.
    greedy = _finish(model, replace(request, sampling=None))
    asked = [replace(request, sampling=replace(how, seed=how.seed + n)) for n in range(number)]
    if at_once == 1:
        return Draws(greedy, tuple(_finish(model, each) for each in asked))
    with ThreadPoolExecutor(min(at_once, number), thread_name_prefix="draw") as pool:
        waiting = [pool.submit(copy_context().run, _finish, model, each) for each in asked]
        return Draws(greedy, tuple(each.result() for each in waiting))


def _finish(model: Engine, request: Request) -> Trace:
    run = Run(model, request)
    for _ in run:
        raise_if_cancelled()
    return run.trace
