"""Leave one out: a step asked again with one part of the text before it left out at a time.

Owns the question, its checks and its answer; `decoding.engines.leave_one_out_passes` makes the passes. The tokens after
a part that is left out move up, as they would in a shorter text. Knows no page.
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import cast

from decoding.engines import Engine
from decoding.errors import RequestError
from decoding.generator_results import result_of
from decoding.limits import LEFT_OUT, MAX_LEFT_OUT
from decoding.messages import Message
from decoding.questions.same_model import check_same_model
from decoding.record.step import NO_ID, Candidate, ScoredToken, Step, StepScores, make_candidate
from decoding.record.trace import Trace
from decoding.record.why import UNITS, LeaveOneOut, LeftOut, Unit, parts_of
from decoding.requests.arguments import check_trace
from decoding.requests.run_request import whole_number
from decoding.requests.values import is_whole, json_type_of, shown, shown_id


@dataclass(frozen=True, slots=True)
class Question:
    """A question about one step: which parts are left out, and which two tokens are compared without them."""

    step: Step
    token_ids: tuple[int, ...]
    """Of the text before the step."""
    by: Unit
    parts: tuple[tuple[int, int], ...]
    """(first position, number of tokens), in ascending order."""
    against: Candidate | None


def leave_one_out(
    model: Engine, trace: Trace, step: int, *, against: int | None = None, by: str = "tokens", last: int = LEFT_OUT
) -> LeaveOneOut:
    """Leave out each part of the text before `step` (counted from 0) in turn, and ask the model again.

    A part is a token or a word, as `by` says ("tokens" or "words"). It counts if it ends within the last `last` tokens
    of the text, 1 to 256; a beginning-of-text token is never left out. With `against`, the id of another of the step's
    candidates, the answer also has that token's log-probability without each part. The model reads at most the whole
    text again for each part. Raises RequestError for an invalid value, for a trace of another model and for a text of
    which nothing can be left out; and what `Engine.score` raises.

    >>> run = decoding.trace(model, "The capital of France is", max_new_tokens=1, top_k=5)
    >>> answer = decoding.leave_one_out(model, run, 0)
    >>> [(run.prompt_tokens[part.first].text, f"{answer.change(part):+.2f}") for part in answer.parts]
    [('The', '-0.75'), (' capital', '-0.77'), (' of', '-0.69'), (' France', '-0.77'), (' is', '-0.77')]
    """
    question = check_question(model, trace, step, against=against, by=by, last=last)
    return result_of(leave_out(model, question))


def leave_out(model: Engine, question: Question) -> Generator[LeaveOneOut, None, LeaveOneOut]:
    """Answer a question part by part: yields the answer as far as it has come, and returns all of it. Closing the
    generator stops the work.
    """
    from decoding.engines.leave_one_out_passes import scores_without  # here: `import decoding` takes no NumPy

    pick, other = question.step.picked, question.against
    wanted = [pick.token_id, *([other.token_id] if other else [])]
    answer = LeaveOneOut(question.step.index, question.by, pick, (), other)
    found = scores_without(model, question.token_ids, question.parts, wanted)
    for part, scores in zip(question.parts, found, strict=True):
        answer = LeaveOneOut(
            answer.step, answer.by, pick, (*answer.parts, _left_out(model, question, part, scores)), other
        )
        yield answer
    return answer


def check_question(
    model: Engine, trace: Trace, step: object, *, against: object = None, by: object = "tokens", last: object = LEFT_OUT
) -> Question:
    """The question, with the values that `leave_one_out` takes. Raises RequestError for one that is invalid."""
    asked = check_step(trace, step)
    check_same_model(model, trace)
    if by not in UNITS:
        raise RequestError(Message("why_token.by", value=shown(by)), field="forced")
    count = whole_number(last, "forced", MAX_LEFT_OUT, name="tokens to leave out")
    other = None if against is None else _candidate(asked, against)
    before = trace.steps[: asked.index]
    tokens = [*trace.prompt_tokens, *(one.picked.token for one in before)]
    ids = tuple(token.token_id for token in tokens)
    unit = cast(Unit, by)
    first = 1 if ids[0] == model.beginning_id else 0
    parts = [(at + first, size) for at, size in parts_of(tokens[first:], unit)]
    parts = [(at, size) for at, size in parts if at + size > len(ids) - count and size < len(ids)]
    if not parts:
        if len(ids) == 1:
            raise RequestError(Message("why_token.nothing", step=asked.index + 1), field="forced")
        if len(parts_of(tokens, "tokens")) == 1:
            raise RequestError(Message("why_token.one_character", step=asked.index + 1), field="forced")
        raise RequestError(Message("why_token.one_word", step=asked.index + 1), field="forced")
    return Question(asked, ids, unit, tuple(parts), other)


def check_step(trace: Trace, step: object) -> Step:
    """The step of a trace that is asked about. Raises RequestError if there is none, or if it has no token ids."""
    check_trace(trace)
    if not is_whole(step) or step not in range(len(trace.steps)):
        raise RequestError(
            Message("why_token.step", last=len(trace.steps) - 1, value=shown(step)),
            field="forced",
        )
    if NO_ID in (*trace.prompt_token_ids, trace.steps[int(step)].picked.token_id) or not trace.prompt_tokens:
        raise RequestError(
            Message("why_token.no_ids"),
            field="forced",
        )
    return trace.steps[int(step)]


def _candidate(step: Step, token_id: object) -> Candidate:
    if not is_whole(token_id):
        raise RequestError(Message("why_token.against", type=json_type_of(token_id)), field="forced")
    found = next((one for one in step.candidates if one.token_id == token_id), None)
    if found is None or found.token_id == step.picked.token_id:
        raise RequestError(
            Message("why_token.candidate", id=shown_id(token_id), step=step.index + 1),
            field="forced",
        )
    return found


def _left_out(model: Engine, question: Question, part: tuple[int, int], scores: tuple[StepScores, ...]) -> LeftOut:
    first, count = part
    picked = [one.picked for one in scores]
    assert picked[0]  # it was wanted
    text = [*question.token_ids[:first], *question.token_ids[first + count :]]
    leads = ScoredToken(scores[0].token_ids[0], scores[0].logprobs[0], 0)
    return LeftOut(
        first=first,
        count=count,
        logprob=picked[0].logprob,
        rank=picked[0].rank,
        instead=make_candidate(model.vocabulary.decoder_after(text), leads),
        against_logprob=picked[1].logprob if len(picked) > 1 and picked[1] else None,
    )
