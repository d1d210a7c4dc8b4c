"""Branches: a run with one pick replaced, decoded on from there.

Owns how the earlier picks are kept and checked. The function is as thread-safe as the model's `steps`.
"""

from decoding.engines import Engine
from decoding.errors import RequestError
from decoding.messages import Message
from decoding.questions.same_model import check_same_model
from decoding.record.step import Step
from decoding.record.trace import Trace
from decoding.requests.arguments import check_trace
from decoding.requests.run_request import check_request
from decoding.requests.values import is_whole, shown
from decoding.run import Run


def branch(model: Engine, trace: Trace, step: int, token_id: int, *, max_new_tokens: int) -> Trace:
    """The run that picks `token_id` at `step` (counted from 0), keeps the earlier picks of `trace`, and then goes
    on as `trace` does (greedily, unless it draws) to `max_new_tokens` steps in all.

    Raises RequestError for a step or id that does not exist, and for a trace that this model does not reproduce.

    >>> run = decoding.trace(model, "Transformers are the", max_new_tokens=8, top_k=5)
    >>> second = run.steps[0].candidates[1]
    >>> decoding.branch(model, run, 0, second.token_id, max_new_tokens=8).generated_text
    ' ones that can be used to create new'
    """
    check_trace(trace)
    if not is_whole(step) or step not in range(len(trace.steps)):
        raise RequestError(
            Message("altered.step", last=len(trace.steps) - 1, step=shown(step)),
            field="forced",
        )
    step = int(step)
    if max_new_tokens in range(1, step + 1):
        raise RequestError(Message("altered.steps", least=step + 1, steps=max_new_tokens), field="steps")
    check_same_model(model, trace)
    forced = [(s.index, s.picked.token_id) for s in trace.steps[:step] if s.chosen]
    request = check_request(trace.prompt, max_new_tokens, trace.top_k, [*forced, (step, token_id)], **trace.how)
    run = Run(model, request)
    steps = iter(run)
    for theirs, ours in zip(trace.steps[:step], steps, strict=False):
        _check_same_pick(model, ours, theirs)
    for _ in steps:
        pass
    return run.trace


def _check_same_pick(model: Engine, ours: Step, theirs: Step) -> None:
    if ours.picked.token_id != theirs.picked.token_id:
        raise RequestError(
            Message(
                "altered.pick",
                step=ours.index + 1,
                theirs=theirs.picked.token_id,
                model=model.info.id,
                ours=ours.picked.token_id,
            ),
            field="forced",
        )
