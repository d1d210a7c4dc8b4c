"""Why this token? The panel's question about one step: a logit lens, then leaving out, part by part.

Owns what the question needs and how its answer grows. Its parameters come from a browser, so none is trusted. Knows no
component. Raises GreedyscopeError for what it refuses.
"""

from collections.abc import Generator, Sequence
from contextlib import closing
from time import monotonic

from decoding.engines import Engine
from decoding.engines.memory_needs import Kind
from decoding.errors import ModelError, RequestError
from decoding.limits import LEFT_OUT
from decoding.messages import Message
from decoding.page.panel_actions import Parameters, Updates, reserve_memory, run_on_screen, wait_for_engine
from decoding.questions.leave_one_out import check_question, check_step, leave_out
from decoding.questions.logit_lens import check_lens_size, lens
from decoding.record.trace import Trace
from decoding.record.why import LeaveOneOut, Lens
from decoding.serving.admission import PAUSE_SECONDS
from decoding.serving.memory_budget import Reservation
from decoding.serving.model_registry import ModelRegistry

_MOST_DIGITS = 16


def why(registry: ModelRegistry, parameters: Parameters) -> Updates:
    """A lens on the step, or a sentence where the model has none; then the growing answer of leaving out. Each update
    bears the question's number, by which the page knows whose answer it is.
    """
    trace = run_on_screen(parameters)
    asked = check_step(trace, parameters.get("step")).index
    engine = yield from wait_for_engine(registry, trace.model.id)
    yield {"notice": Message("why_token.asking")}
    number = parameters.get("number")
    its_own = {"number": number[:_MOST_DIGITS] if isinstance(number, str) else ""}
    options = {"against": parameters.get("against"), "by": parameters.get("by", "tokens")}
    try:
        other = options["against"]
        followed = [one.token_id for one in trace.steps[asked].candidates if one.token_id == other]
        layers = yield from read_lens(registry, engine, trace, asked, followed)
        yield {"why": layers.to_json(), "no-lens": ""} | its_own
    except (RequestError, ModelError) as error:  # the other question may have an answer
        yield {"no-lens": error.message} | its_own
    last = parameters.get("last", LEFT_OUT)
    with closing(read_without(registry, engine, trace, asked, last=last, **options)) as answers:
        newest: LeaveOneOut | None = None
        due = 0.0  # an update costs the page some milliseconds, and a part hardly more
        for found in answers:
            if isinstance(found, dict):
                yield found
                continue
            newest = found
            if monotonic() >= due:
                yield {"why": newest.to_json()} | its_own
                newest, due = None, monotonic() + PAUSE_SECONDS
        if newest:
            yield {"why": newest.to_json()} | its_own


def read_lens(
    registry: ModelRegistry, engine: Engine, trace: Trace, step: int, follow: Sequence[int] = ()
) -> Generator[dict[str, str], None, Lens]:
    """A lens on a step, once its memory is reserved; yields what is waited for."""
    rows = check_lens_size(engine)
    with (yield from _reserve(registry, engine, "lens", trace, step, rows=rows)):
        return lens(engine, trace, step, follow=follow)


def read_without(
    registry: ModelRegistry, engine: Engine, trace: Trace, step: object, **options: object
) -> Generator[dict[str, str] | LeaveOneOut, None, None]:
    """The answer of leaving out as far as it has come, once its memory is reserved; yields what is waited for."""
    question = check_question(engine, trace, step, **options)
    with (yield from _reserve(registry, engine, "leave_one_out", trace, question.step.index)):
        yield from leave_out(engine, question)


def _reserve(
    registry: ModelRegistry, engine: Engine, kind: Kind, trace: Trace, step: int, *, rows: int = 1
) -> Generator[dict[str, str], None, Reservation]:
    """Reserve the memory of a question about the text before a step."""
    return (yield from reserve_memory(registry, engine, kind, trace, step, trace.top_k, rows=rows))
