"""One run from request to end.

Owns how an engine is driven, the record that grows, and why a run ended. Library, terminal, page and HTTP all use it.
Knows no page, and passes ids on without interpreting them.
"""

from collections.abc import Generator, Iterator
from dataclasses import replace

from decoding.engines import Engine
from decoding.errors import GreedyscopeError, RequestError
from decoding.messages import Message
from decoding.record.pick_rule import PickRule
from decoding.record.step import Step, make_step
from decoding.record.trace import StopReason, Trace
from decoding.requests.arguments import check_model
from decoding.requests.run_request import (
    Request,
    check_can_draw,
    check_forced_ids,
    check_request,
    check_top_k,
    start_ids,
)
from decoding.requests.tokenization_remarks import prompt_remarks

__all__ = ["Request", "Run", "check_request", "greedy_search", "trace"]


class Run:
    """A run in progress: iterate it for its steps, or `lines` for its JSON Lines; `trace` is the record so far.

    The request is checked when the run is made, before the first forward pass; raises RequestError. `remarks` are added
    to those about the prompt's tokens. Not thread-safe, and to be iterated once.
    """

    def __init__(self, model: Engine, request: Request, *, remarks: tuple[str, ...] = ()) -> None:
        check_model(model)
        check_forced_ids(model, request.forced)
        check_top_k(model, request.top_k)
        check_can_draw(model, request.sampling)
        self._model, self._forced = model, dict(request.forced)
        start = start_ids(model, request)
        self._start = Trace(
            model=model.info,
            prompt=request.prompt,
            prompt_tokens=model.vocabulary.tokens(start),
            max_new_tokens=request.max_new_tokens,
            top_k=request.top_k,
            remarks=(*prompt_remarks(model, request.prompt, start, as_message=request.as_message), *remarks),
            past_end=request.past_end,
            sampling=request.sampling,
            as_message=request.as_message,
        )
        self._rule = PickRule(frozenset(model.end_ids) if request.past_end else frozenset(), request.sampling)
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
            forced=self._forced,
            rule=self._rule,
        )
        ids = [*start.prompt_token_ids]
        try:
            for index, readout in enumerate(readouts):
                decoder = self._model.vocabulary.decoder_after(ids)
                forced = index in self._forced or (readout.picked is not None and readout.picked.rank > 0)
                step = make_step(decoder, readout, index=index, top_k=start.top_k, forced=forced)
                self._steps.append(step)
                ids.append(step.picked.token_id)
                yield step
            self._check_picked()
        except GreedyscopeError as error:
            self._stop_reason, self._message = "error", str(error)
            raise
        self._stop_reason = self._why()

    def lines(self) -> Generator[str, None, None]:
        """Yield the run as JSON Lines while it grows, each line with its newline. A GreedyscopeError ends the run, and
        its sentence is in the last line. After Ctrl+C the last line says "stopped", and KeyboardInterrupt is raised.
        """
        yield self._start.header_line() + "\n"
        try:
            for step in self:
                yield step.to_json() + "\n"
        except GreedyscopeError:
            pass  # the last line holds its message
        except KeyboardInterrupt:
            yield self.trace.end_line() + "\n"
            raise
        yield self.trace.end_line() + "\n"

    def _check_picked(self) -> None:
        """Raises RequestError for a forced step that the run did not reach."""
        count = len(self._steps)
        if late := [step for step in self._forced if step >= count]:
            raise RequestError(
                Message("pick.late", count=count, step=late[0] + 1),
                field="forced",
            )

    def _why(self) -> StopReason:
        """The reason why the engine ended the run."""
        if self._steps and self._steps[-1].picked.token_id in self._model.end_ids:
            return "end_of_text"
        return "steps" if len(self._steps) == self._start.max_new_tokens else "context_full"


def greedy_search(
    model: Engine, prompt: str, *, max_new_tokens: int, top_k: int, past_end: bool = False, as_message: bool = False
) -> Iterator[Step]:
    """Decode `prompt` greedily and yield each step as soon as it is known.

    `max_new_tokens` is 1 to 256, `top_k` (the candidates of each step) 1 to 50. With `past_end`, the text goes on past
    its end: ids that end it are never picked, the next candidate is, and its step says so. With `as_message`, the
    prompt is a message to the assistant, and the model's chat template makes what the model reads. Raises RequestError
    at once for a request that cannot be run, ModelError for a chat template that fails, and at a step whose logits are
    not finite. Closing the iterator stops the work.

    >>> for step in greedy_search(model, "Transformers are the", max_new_tokens=3, top_k=2):
    ...     print(step.index, [f"{c.text} {c.probability:.2%}" for c in step.candidates], f"{step.rest:.2%}")
    0 [' most 8.26%', ' ones 6.59%'] 85.15%
    1 [' efficient 12.51%', ' effective 5.45%'] 82.03%
    2 [' way 61.05%', ' and 7.94%'] 31.02%
    """
    return iter(Run(model, check_request(prompt, max_new_tokens, top_k, past_end=past_end, as_message=as_message)))


def trace(
    model: Engine, prompt: str, *, max_new_tokens: int, top_k: int, past_end: bool = False, as_message: bool = False
) -> Trace:
    """Decode `prompt` greedily to the end. Takes and raises what `greedy_search` does.

    >>> run = trace(model, "Transformers are the", max_new_tokens=8, top_k=5)
    >>> run.generated_text, run.stop_reason, round(run.logprob, 2)
    (' most efficient way to create a new object', 'steps', -14.25)
    """
    run = Run(model, check_request(prompt, max_new_tokens, top_k, past_end=past_end, as_message=as_message))
    for _ in run:
        pass
    return run.trace
