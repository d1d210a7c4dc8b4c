"""One run from request to end: checks what was asked, drives an engine, keeps the record, and says why it ended.

Owns the limits and the sentences that refuse. Knows ids only to hand them on, and no page: library, terminal, page and
HTTP all come through here, so that all refuse alike.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from decoding.engines import Engine
from decoding.errors import Field, GreedyscopeError, RequestError
from decoding.trace import Candidate, Readout, Step, StopReason, Trace

MAX_STEPS = 256
MAX_CHOICES = 50
MAX_PROMPT_CHARACTERS = 50_000


@dataclass(frozen=True, slots=True)
class Request:
    """What a person asked for, checked as far as that is possible without a model."""

    prompt: str
    max_new_tokens: int
    top_k: int


def check_request(prompt: object, max_new_tokens: object, top_k: object) -> Request:
    """Raises RequestError, naming the field, the value and the limit."""
    return Request(
        check_prompt(prompt),
        _whole(max_new_tokens, "steps", MAX_STEPS),
        _whole(top_k, "choices", MAX_CHOICES),
    )


def check_prompt(prompt: object) -> str:
    if not isinstance(prompt, str):
        raise RequestError(f"The prompt has to be text, not {type(prompt).__name__}.", field="prompt")
    if len(prompt) > MAX_PROMPT_CHARACTERS:
        raise RequestError(
            f"The prompt has {len(prompt):,} characters; at most {MAX_PROMPT_CHARACTERS:,} are read. Shorten it.",
            field="prompt",
        )
    for position, character in enumerate(prompt, start=1):
        if character == "\0" or "\ud800" <= character <= "\udfff":
            what = "a NUL" if character == "\0" else "half of a surrogate pair"
            raise RequestError(
                f"Character {position:,} of the prompt is {what} (U+{ord(character):04X}): that is no text. Delete it.",
                field="prompt",
            )
    return prompt


def _whole(value: object, field: Field, most: int) -> int:
    # A slider sends 8 or 8.0; both are eight.
    if isinstance(value, int | float) and not isinstance(value, bool) and value in range(1, most + 1):
        return int(value)
    raise RequestError(
        f"The number of {field} has to be a whole number from 1 to {most}, not {str(value)[:40]}.",
        field=field,
    )


def _start_ids(model: Engine, request: Request) -> list[int]:
    """The prompt's ids; for an empty prompt, the model's beginning-of-text token, where it has one."""
    ids = model.vocabulary.encode(request.prompt)
    if not ids and model.beginning_id is None:
        raise RequestError(
            f"The prompt is empty, and {model.info.id} has no beginning-of-text token to start from. Type something.",
            field="prompt",
        )
    ids = ids or [model.beginning_id or 0]
    context = model.context_length
    if context is not None and len(ids) + request.max_new_tokens > context:
        raise RequestError(
            f"The prompt is {len(ids):,} tokens long; with {request.max_new_tokens} steps, {model.info.id} has room "
            f"for {max(0, context - request.max_new_tokens):,} (its context is {context:,}). "
            "Shorten the prompt or take fewer steps.",
            field="prompt",
        )
    return ids


class Run:
    """A run in progress: iterate it for its steps, or for its lines of JSON Lines; `trace` is the record so far.

    Everything is checked when the run is made, before the first forward pass.
    """

    def __init__(self, model: Engine, request: Request) -> None:
        self._model = model
        self._start = Trace(
            model=model.info,
            prompt=request.prompt,
            prompt_tokens=model.vocabulary.tokens(_start_ids(model, request)),
            max_new_tokens=request.max_new_tokens,
            top_k=request.top_k,
        )
        self._steps: list[Step] = []
        self._stop_reason: StopReason = "stopped"
        self._message = ""

    @property
    def trace(self) -> Trace:
        """The run so far. Its `stop_reason` is "stopped" until the run has ended in another way."""
        return replace(self._start, steps=tuple(self._steps), stop_reason=self._stop_reason, message=self._message)

    def __iter__(self) -> Iterator[Step]:
        start = self._start
        readouts = self._model.steps(
            start.prompt_token_ids,
            max_new_tokens=start.max_new_tokens,
            top_k=max(2, start.top_k),  # the margin needs the second, shown or not
        )
        try:
            for readout in readouts:
                self._steps.append(self._step(readout))
                yield self._steps[-1]
        except GreedyscopeError as error:
            self._stop_reason, self._message = "error", str(error)
            raise
        self._stop_reason = self._why()

    def lines(self) -> Iterator[str]:
        """The run as JSON Lines while it grows, each line with its end. An error that is safe to show ends the run with
        its sentence in the last line.
        """
        yield self._start.header_line() + "\n"
        try:
            for step in self:
                yield step.to_json() + "\n"
        except GreedyscopeError:
            pass  # the last line says it
        yield self.trace.end_line() + "\n"

    def _step(self, readout: Readout) -> Step:
        top_k = self._start.top_k
        first, *others = probabilities = [math.exp(logprob) for logprob in readout.logprobs]
        candidates = []
        for rank, token in enumerate(self._model.vocabulary.tokens(readout.token_ids[:top_k])):
            candidates.append(
                Candidate(token.token_id, token.text, probabilities[rank], readout.logprobs[rank], rank, token.bytes)
            )
        return Step(
            index=len(self._steps),
            picked=candidates[0],
            forced=False,
            candidates=tuple(candidates),
            rest=max(0.0, 1 - math.fsum(probabilities[:top_k])),
            entropy=readout.entropy,
            margin=first - others[0] if others else first,
        )

    def _why(self) -> StopReason:
        """Why an engine that ended by itself did so."""
        if self._steps and self._steps[-1].picked.token_id in self._model.end_ids:
            return "end_of_text"
        return "steps" if len(self._steps) == self._start.max_new_tokens else "context_full"


def greedy_search(model: Engine, prompt: str, *, max_new_tokens: int, top_k: int) -> Iterator[Step]:
    """Decode `prompt` greedily and yield each step as soon as it is known.

    `max_new_tokens` is 1 to 256, `top_k` (the candidates kept a step) 1 to 50. Raises RequestError at once for what
    cannot be run, ModelError at the step where the model's output is no distribution. Closing the iterator stops the
    work.
    """
    return iter(Run(model, check_request(prompt, max_new_tokens, top_k)))


def trace(model: Engine, prompt: str, *, max_new_tokens: int, top_k: int) -> Trace:
    """Decode `prompt` greedily to the end. Takes and raises what `greedy_search` does."""
    run = Run(model, check_request(prompt, max_new_tokens, top_k))
    for _ in run:
        pass
    return run.trace
