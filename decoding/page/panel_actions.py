"""The panel's actions: branch, open a link, score a text, search with beams, compare with transformers.

Owns what each action needs and what it answers: another run for the panel, or a sentence. Its parameters come from a
browser, so none is trusted. Knows no component. Every action raises GreedyscopeError for what it refuses.
"""

from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import replace
from typing import Any

from decoding.engines import Engine
from decoding.engines.local_engine import LocalEngine
from decoding.engines.memory_needs import Kind, Work, bytes_needed
from decoding.errors import RequestError
from decoding.limits import MAX_CHOICES, MAX_TEXT_TOKENS
from decoding.messages import Message
from decoding.page.agreement_sentence import agreement_sentence
from decoding.questions import agreement, beam_search, text_scores
from decoding.questions.continuation_probability import check_picked, probability_after
from decoding.questions.prompt_scores import score_prompt
from decoding.questions.sampled_runs import draw_runs
from decoding.record.permalink import Link, from_link
from decoding.record.prompt_scores import prompt_scores_line
from decoding.record.trace import Trace
from decoding.requests.run_request import (
    Request,
    check_beams,
    check_continuation,
    check_forced,
    check_prompt,
    check_request,
    prompt_ids,
)
from decoding.requests.sampling_request import check_draws
from decoding.requests.tokenization_remarks import text_remarks
from decoding.run import Run
from decoding.serving.memory_budget import Reservation
from decoding.serving.model_registry import ModelRegistry

Parameters = Mapping[str, Any]
Updates = Iterator[dict[str, str]]
Prompted = Request | Trace
"""What has a prompt, and says whether it is a message to the assistant."""

LONG_ACTIONS = frozenset(("score", "beam", "prompt", "agree", "draw", "named", "why"))
"""The actions that occupy the model for long; see `decoding.serving.admission`."""


def branch(registry: ModelRegistry, parameters: Parameters) -> Updates:
    """A branch: a run with `forced` picks, or if there is a `text`, with its tokens from step `at` on."""
    request = requested(parameters)
    engine = yield from wait_for_engine(registry, parameters.get("model"))
    remarks: tuple[str, ...] = ()
    if "text" in parameters:
        text = check_prompt(parameters["text"])
        start = prompt_ids(engine, request.prompt, as_message=request.as_message)
        before = [*start, *(token_id for _, token_id in request.forced)]
        prompt = "" if request.as_message else request.prompt
        ids = engine.vocabulary.encode_continuation(text, before, prompt)
        if not ids:
            raise RequestError(Message("ask.no_text"), field="forced")
        at = parameters.get("at")
        first = at if isinstance(at, int) else -1
        room = request.max_new_tokens - first
        if 0 < room < len(ids):
            raise RequestError(
                Message("ask.long_text", count=len(ids), step=first + 1, room=room),
                field="forced",
            )
        remarks = text_remarks(engine, text, before, ids)
        picks = [*request.forced, *((first + n, token_id) for n, token_id in enumerate(ids))]
        request = replace(request, forced=check_forced(picks, request.max_new_tokens))
    yield from stream_run(registry, engine, request, remarks)


def link(registry: ModelRegistry, parameters: Parameters) -> Updates:
    """The run of a permalink."""
    named = read_link(parameters)
    request = check_request(named.prompt, named.steps, named.choices, named.forced, **named.how)
    engine = yield from wait_for_engine(registry, named.model)
    yield from stream_run(registry, engine, request)


def requested(parameters: Parameters) -> Request:
    """The request of a message: a run with forced picks, and how it picks at the other steps."""
    asked = (parameters.get(name) for name in ("prompt", "steps", "choices", "forced"))
    return check_request(*asked, **{name: parameters.get(name) for name in ("past_end", "sampling", "as_message")})


def _whole(parameters: Parameters) -> Request:
    """The request of a message for an answer that keeps no pick of a run."""
    asked = (parameters.get(name) for name in ("prompt", "steps", "choices"))
    return check_request(*asked, as_message=parameters.get("as_message"))


def read_link(parameters: Parameters) -> Link:
    """The link of the panel's message. Raises FormatError for anything else."""
    value = parameters.get("value")
    return from_link(value if isinstance(value, str) else "")


def score(registry: ModelRegistry, parameters: Parameters) -> Updates:
    """The scores of a given text."""
    request = _whole(parameters)
    text = check_prompt(parameters.get("text"))
    engine = yield from wait_for_engine(registry, parameters.get("model"))
    steps = len(engine.vocabulary.encode_continuation(text))
    with (yield from reserve_memory(registry, engine, "score", request, steps, request.top_k)):
        yield {"notice": Message("ask.score")}
        found = text_scores.score(engine, request.prompt, text, top_k=request.top_k, as_message=request.as_message)
        yield {"panel": found.to_jsonl()}


def beam(registry: ModelRegistry, parameters: Parameters) -> Updates:
    """Beam search from the prompt, for the same number of steps."""
    request = _whole(parameters)
    beams: Any = parameters.get("beams")
    rows, steps = check_beams(beams), request.max_new_tokens
    engine = yield from wait_for_engine(registry, parameters.get("model"))
    with (yield from reserve_memory(registry, engine, "beam", request, steps, request.top_k, rows=rows)):
        yield {"notice": Message("ask.beam", beams=rows)}
        options: Any = {"max_new_tokens": steps, "num_beams": rows, "top_k": request.top_k}
        found = beam_search.beam_search(engine, request.prompt, as_message=request.as_message, **options)
        yield {"panel": found.to_jsonl()}


def draw(registry: ModelRegistry, parameters: Parameters) -> Updates:
    """Up to twenty draws at once beside the greedy run, as one JSON object; they share the model's passes."""
    request = requested(parameters)
    if request.sampling is None:
        raise RequestError(Message("draw.none"), field="sampling")
    count = check_draws(parameters.get("count"), request.sampling)
    engine = yield from wait_for_engine(registry, parameters.get("model"))
    steps, choices = request.max_new_tokens, request.top_k
    with (yield from reserve_memory(registry, engine, "run", request, steps, choices, rows=count)):
        yield {"notice": Message("draw.count", count=count)}
        at_once = 1 if isinstance(engine, LocalEngine) else count  # a local engine serves one run at a time
        found = draw_runs(engine, request, count=count, at_once=at_once)
        yield {"notice": "", "draws": found.to_json()}


def named(registry: ModelRegistry, parameters: Parameters) -> Updates:
    """The probability of a text that the reader names, after a prompt and what was `picked` since, as a JSON object."""
    text = check_continuation(parameters.get("text"))
    asked = check_request(parameters.get("prompt"), 1, 1, as_message=parameters.get("as_message"))
    engine = yield from wait_for_engine(registry, parameters.get("model"))
    picked = check_picked(engine, parameters.get("picked"))
    steps = len(picked) + len(engine.vocabulary.encode_continuation(text))
    with (yield from reserve_memory(registry, engine, "score", asked, steps, 1)):
        found = probability_after(engine, asked.prompt, picked, text, as_message=asked.as_message)
        yield {"notice": "", "named": found.to_json()}


def prompt(registry: ModelRegistry, parameters: Parameters) -> Updates:
    """The scores of the tokens of the prompt of the run on the screen."""
    trace = run_on_screen(parameters)
    engine = yield from wait_for_engine(registry, trace.model.id)
    for update in scored_prompt(registry, engine, trace):
        if "panel" in update:
            update = {"scores": prompt_scores_line(Trace.from_jsonl(update["panel"]).prompt_scores)}
        yield update


def scored_prompt(registry: ModelRegistry, engine: Engine, trace: Trace) -> Updates:
    """A run with the scores of its prompt's tokens, once its memory is reserved."""
    scored = min(MAX_TEXT_TOKENS, len(trace.prompt_tokens))
    with (yield from reserve_memory(registry, engine, "score", trace, scored, 1)):
        yield {"notice": Message("ask.score")}
        yield {"panel": score_prompt(engine, trace).to_jsonl()}


def run_on_screen(parameters: Parameters) -> Trace:
    """The run that a question is about. Raises RequestError if there is none."""
    run = parameters.get("run")
    if not isinstance(run, str):
        raise RequestError(Message("ask.no_run"), field="forced")
    return Trace.from_jsonl(run)


def agree(registry: ModelRegistry, parameters: Parameters) -> Updates:
    """Whether transformers' own greedy search gives the run on the screen."""
    trace = run_on_screen(parameters)
    engine = yield from wait_for_engine(registry, trace.model.id)
    with (yield from reserve_memory(registry, engine, "proof", trace, len(trace.steps), trace.top_k)):
        yield {"notice": Message("ask.agree"), "proof": ""}
        yield {"proof": agreement_sentence(agreement.agreement(engine, trace))}


ACTIONS: dict[str, Callable[[ModelRegistry, Parameters], Updates]] = {
    "branch": branch,
    "link": link,
    "score": score,
    "beam": beam,
    "prompt": prompt,
    "agree": agree,
    "draw": draw,
    "named": named,
}


def stream_run(registry: ModelRegistry, engine: Engine, request: Request, remarks: tuple[str, ...] = ()) -> Updates:
    """A run as growing JSON Lines, once its memory is reserved."""
    text = ""
    with (yield from reserve_memory(registry, engine, "run", request, request.max_new_tokens, request.top_k)):
        for lines in Run(engine, request, remarks=remarks).lines():
            text += lines
            yield {"panel": text}


def reserve_memory(
    registry: ModelRegistry, engine: Engine, kind: Kind, asked: Prompted, steps: int, choices: int, *, rows: int = 1
) -> Generator[dict[str, str], None, Reservation]:
    """Reserve the peak memory of a request; yields a notice while it waits. Raises RequestError if it can never fit."""
    tokens = len(prompt_ids(engine, check_prompt(asked.prompt), as_message=asked.as_message))
    if engine.context_length is not None:  # longer prompts are refused elsewhere, with another sentence
        tokens = min(tokens, engine.context_length)
    waiting = registry.memory.reserve_when_free(bytes_needed(engine, Work(kind, tokens, steps, choices, rows)))
    was_waiting = False
    while True:
        try:
            yield {"notice": next(waiting)}
            was_waiting = True
        except StopIteration as end:
            if was_waiting:
                yield {"notice": ""}
            part: Reservation = end.value
            return part


def wait_for_engine(registry: ModelRegistry, name: object) -> Generator[dict[str, str], None, Engine]:
    """Wait for the model of this name; yields its progress, then its limits. Raises what the registry raises."""
    for word in registry.wait(name):
        yield {"notice": word, "loads": "yes"}
    engine = registry.engine(name)
    yield engine_limits(engine)
    return engine


def engine_limits(engine: Engine) -> dict[str, str]:
    """The update for a loaded model: it clears the notice, and gives the most candidates if the page would allow
    more.
    """
    most = engine.max_top_k
    return {"notice": "", **({} if most is None or most >= MAX_CHOICES else {"most": str(most)})}
