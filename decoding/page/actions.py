"""What the panel asks: go on with another token, read a text, search with beams, prove what transformers writes.

Each question comes with all that is needed to answer it, and comes from a browser: nothing in it is trusted. Answers
are another run for the panel, or one sentence. Knows no component.
"""

from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any

from decoding import analysis
from decoding.engines import Engine
from decoding.engines.memory_needs import Kind, Work, bytes_needed
from decoding.errors import RequestError
from decoding.limits import MAX_CHOICES
from decoding.reading import text_remarks
from decoding.record.permalink import Link, from_link
from decoding.record.tokens import visible
from decoding.record.trace import Candidate, Trace
from decoding.request import Request, check_beams, check_prompt, check_request, prompt_ids
from decoding.run import Run
from decoding.serving.memory_budget import Reservation
from decoding.serving.model_registry import Shelf

Question = Mapping[str, Any]
Answer = Iterator[dict[str, str]]

LONG = frozenset(("score", "beam", "agree"))
"""The questions that hold the model for long, which wait in lanes of their own."""


def branch(shelf: Shelf, asked: Question) -> Answer:
    """A run that goes another way: `forced` picks, and where there is a `text`, its tokens from step `at` on."""
    request = check_request(asked.get("prompt"), asked.get("steps"), asked.get("choices"), asked.get("forced"))
    engine = yield from awaited(shelf, asked.get("model"))
    remarks: tuple[str, ...] = ()
    if "text" in asked:
        text = check_prompt(asked["text"])
        before = [*prompt_ids(engine, request.prompt), *(token_id for _, token_id in request.forced)]
        ids = engine.vocabulary.encode_continuation(text, before, request.prompt)
        if not ids:
            raise RequestError("There is no text to continue with. Type some; a space counts.", field="forced")
        at = asked.get("at")
        first = at if isinstance(at, int) else -1
        room = request.max_new_tokens - first
        if 0 < room < len(ids):
            raise RequestError(
                f"This text is {len(ids)} tokens long, and from step {first + 1} on the run has room for {room}. "
                "Shorten it, continue from an earlier step, or use more steps.",
                field="forced",
            )
        remarks = text_remarks(engine, text, before, ids)
        picks = [*request.forced, *((first + n, token_id) for n, token_id in enumerate(ids))]
        request = check_request(request.prompt, request.max_new_tokens, request.top_k, picks)
    yield from growing(shelf, engine, request, remarks)


def link(shelf: Shelf, asked: Question) -> Answer:
    """The run that an address names."""
    named = read_link(asked)
    request = check_request(named.prompt, named.steps, named.choices, named.forced)
    engine = yield from awaited(shelf, named.model)
    yield from growing(shelf, engine, request)


def read_link(asked: Question) -> Link:
    """Raises FormatError where the panel's word of a link is none."""
    value = asked.get("value")
    return from_link(value if isinstance(value, str) else "")


def score(shelf: Shelf, asked: Question) -> Answer:
    """A text that is already there, read with the same lens."""
    request = check_request(asked.get("prompt"), asked.get("steps"), asked.get("choices"))
    text = check_prompt(asked.get("text"))
    engine = yield from awaited(shelf, asked.get("model"))
    steps = len(engine.vocabulary.encode_continuation(text))
    with (yield from room(shelf, engine, "score", request.prompt, steps, request.top_k)):
        yield {"notice": "Reading the text …"}
        yield {"panel": analysis.score(engine, request.prompt, text, top_k=request.top_k).to_jsonl()}


def beam(shelf: Shelf, asked: Question) -> Answer:
    """Beam search from the same prompt to the same length."""
    request = check_request(asked.get("prompt"), asked.get("steps"), asked.get("choices"))
    beams: Any = asked.get("beams")
    rows, steps = check_beams(beams), request.max_new_tokens
    engine = yield from awaited(shelf, asked.get("model"))
    with (yield from room(shelf, engine, "beam", request.prompt, steps, request.top_k, rows=rows)):
        yield {"notice": f"Searching with {rows} beams …"}
        found = analysis.beam_search(engine, request.prompt, max_new_tokens=steps, num_beams=rows, top_k=request.top_k)
        yield {"panel": found.to_jsonl()}


def agree(shelf: Shelf, asked: Question) -> Answer:
    """Whether transformers' own greedy search writes the run on screen."""
    run = asked.get("run")
    if not isinstance(run, str):
        raise RequestError("There is no run to compare. Make one first.", field="forced")
    trace = Trace.from_jsonl(run)
    engine = yield from awaited(shelf, trace.model.id)
    with (yield from room(shelf, engine, "proof", trace.prompt, len(trace.steps), trace.top_k)):
        yield {"notice": "transformers is writing the same run …", "proof": ""}
        yield {"proof": proof(analysis.agreement(engine, trace))}


QUESTIONS: dict[str, Callable[[Shelf, Question], Answer]] = {
    "branch": branch,
    "link": link,
    "score": score,
    "beam": beam,
    "agree": agree,
}


def growing(shelf: Shelf, engine: Engine, request: Request, remarks: tuple[str, ...] = ()) -> Answer:
    """A run, from the first line to the last, once there is memory for all of it."""
    text = ""
    with (yield from room(shelf, engine, "run", request.prompt, request.max_new_tokens, request.top_k)):
        for lines in Run(engine, request, remarks=remarks).lines():
            text += lines
            yield {"panel": text}


def room(
    shelf: Shelf, engine: Engine, kind: Kind, prompt: str, steps: int, choices: int, *, rows: int = 1
) -> Generator[dict[str, str], None, Reservation]:
    """The memory that a request takes at its longest, with word of waiting for it."""
    tokens = len(prompt_ids(engine, check_prompt(prompt)))
    if engine.context_length is not None:  # what is longer is refused by a sentence of its own
        tokens = min(tokens, engine.context_length)
    waiting = shelf.memory.wait(bytes_needed(engine, Work(kind, tokens, steps, choices, rows)))
    told = False
    while True:
        try:
            yield {"notice": next(waiting)}
            told = True
        except StopIteration as end:
            if told:
                yield {"notice": ""}
            part: Reservation = end.value
            return part


def proof(found: analysis.Agreement) -> str:
    """What came of the comparison, in words."""
    where = f"{found.dtype}, {found.device}"
    after = f" after the last forced pick, at step {found.first}" if found.first else ""
    switched = f" Switched off on both sides: {', '.join(found.switched_off)}." if found.switched_off else ""
    if found.identical:
        return f"Identical in all {found.compared} tokens{after} ({where}).{switched}"
    ours, theirs = (f"{_named(c)}" if c else "nothing" for c in (found.ours, found.theirs))
    return (
        f"First different at step {(found.first_difference or 0) + 1}: here {ours}, in generate {theirs}; "
        f"margin {found.margin or 0:.4%} ({where}).{switched}"
    )


def _named(candidate: Candidate) -> str:
    return f"{visible(candidate.text, candidate.bytes)} (id {candidate.token_id}, {candidate.probability:.2%})"


def awaited(shelf: Shelf, name: object) -> Generator[dict[str, str], None, Engine]:
    """The model of this name, with word of its loading meanwhile, and then of the choices it gives at most, where the
    page would allow more.
    """
    for word in shelf.wait(name):
        yield {"notice": word, "loads": "yes"}
    engine = shelf.engine(name)
    yield ready(engine)
    return engine


def ready(engine: Engine) -> dict[str, str]:
    """The choices that a model gives at most, where the page would allow more."""
    most = engine.max_top_k
    return {"notice": "", **({} if most is None or most >= MAX_CHOICES else {"most": str(most)})}
