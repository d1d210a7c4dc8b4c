"""The HTTP API, and the tools of an MCP server if that is switched on.

Owns the endpoints, their descriptions and examples, which Gradio shows behind "Use via API". Runs are JSON Lines in
both directions, and nothing is kept between two requests. Endpoints that need the model share the page's admission
queue.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version

import gradio as gr

from decoding import assets
from decoding.engines import Engine
from decoding.engines.memory_needs import Kind
from decoding.errors import FormatError, RequestError
from decoding.export import summary
from decoding.generator_results import result_of
from decoding.limits import MAX_RUN_BYTES
from decoding.messages import Message
from decoding.page import panel_actions as actions
from decoding.page.agreement_sentence import agreement_sentence
from decoding.page.gradio_endpoints import (
    CHOICES,
    PROMPT,
    STEPS,
    Endpoint,
    add_endpoint,
    admitted,
    named_parts,
    with_error_messages,
)
from decoding.page.http.export_routes import FORMATS, read_run, unknown_form, write_export
from decoding.page.http.metrics import Health
from decoding.page.sampling_endpoints import many_draws, single_runs
from decoding.page.text_endpoints import text_endpoints
from decoding.page.why_endpoints import why_endpoints
from decoding.questions.agreement import agreement as compare_with_generate
from decoding.questions.verify import TOLERANCE
from decoding.questions.verify import recompute as write_again
from decoding.record.trace import Trace
from decoding.requests.values import json_type_of
from decoding.serving.memory_budget import Reservation
from decoding.serving.model_registry import ModelRegistry

MAX_ANSWER_BYTES = 2**20
"""The largest file that Gradio's queue returns, because the queue keeps it until it is fetched."""
SENT_FORMS = [form for form, how in FORMATS.items() if not how.is_large]
"""The formats that `/export` writes; a list, because what a caller asks for may have no hash."""
ONES = [[0, 2911]]
"""The starter's id of " ones", the second candidate of the first step."""


def add_endpoints(page: gr.Blocks, registry: ModelRegistry, health: Health) -> None:
    """Add the endpoints to the open page."""
    examples = {"run": _example()}
    short = [*_runs(registry), *single_runs(registry)]
    long = [*text_endpoints(registry, _read), many_draws(registry), *_proofs(registry), *why_endpoints(registry, _read)]
    for is_long, endpoints in ((False, short), (True, long)):
        for asked in endpoints:
            answer = admitted(page, health, asked, is_long=is_long)
            # Limits are those of the admission queue.
            add_endpoint(page, answer, examples, concurrency_id="model", concurrency_limit=None)
    for file in _files():
        add_endpoint(page, with_error_messages(file), examples, concurrency_id="files", concurrency_limit=4)


# ---- the endpoints; their docstrings are for callers, and Gradio reads the parameters from them


def _runs(registry: ModelRegistry) -> list[Endpoint]:
    first = registry.names[0]

    def greedy(prompt: str = PROMPT, steps: int = STEPS, choices: int = CHOICES, model: str = first) -> Iterator[str]:
        """Decode a prompt greedily, and stream the run: each value is all of it so far as JSON Lines, a header, a line
        for each step with its candidates and their probabilities, and an end.

        Parameters:
            prompt: The text to go on from, at most 50,000 characters.
            steps: How many tokens to write, 1 to 256.
            choices: How many candidates to show at each step, 1 to 50.
            model: One of the models that this page offers.
        """
        return branch(prompt, [], steps, choices, model)

    def branch(
        prompt: str = PROMPT,
        forced: list[list[int]] = ONES,
        steps: int = STEPS,
        choices: int = CHOICES,
        model: str = first,
    ) -> Iterator[str]:
        """What if? Decode greedily, but take other tokens at some steps; streams the run as /greedy does.

        Parameters:
            prompt: The text to go on from, at most 50,000 characters.
            forced: Pairs [step, token id]: which token to take at which step, counted from 0.
            steps: How many tokens to write in all, 1 to 256.
            choices: How many candidates to show at each step, 1 to 50.
            model: One of the models that this page offers.
        """
        asked = {"prompt": prompt, "forced": forced, "steps": steps, "choices": choices, "model": model}
        return named_parts(actions.branch(registry, asked))

    return [greedy, branch]


def _proofs(registry: ModelRegistry) -> list[Endpoint]:
    def agreement(run: str) -> Iterator[str]:
        """Whether transformers' own generate(do_sample=False) writes the same run. The answer is a JSON object, with a
        sentence for people.

        Parameters:
            run: A run as JSON Lines, as the other endpoints write it, at most 8 MB.
        """
        trace = _read(run)
        engine = result_of(actions.wait_for_engine(registry, trace.model.id))
        with _reserve_memory(registry, engine, "proof", trace):
            found = compare_with_generate(engine, trace)
        told = ("identical", "first", "compared", "first_difference", "margin", "dtype", "device", "switched_off")
        ids = {side: getattr(getattr(found, side), "token_id", None) for side in ("ours", "theirs")}
        yield json.dumps({name: getattr(found, name) for name in told} | ids | {"sentence": agreement_sentence(found)})

    def recompute(run: str) -> Iterator[str]:
        """Whether the model still gives a run's tokens, and its probabilities to within 0.0001. The answer is a JSON
        object, with a sentence for people.

        Parameters:
            run: A run as JSON Lines, as the other endpoints write it, at most 8 MB.
        """
        trace, worst = _read(run), None
        engine = result_of(actions.wait_for_engine(registry, trace.model.id))
        try:
            with _reserve_memory(registry, engine, "run", trace):
                worst = write_again(engine, trace)
            sentence = f"{trace.model.id} still gives its tokens, and its probabilities to within {TOLERANCE}."
        except FormatError as error:  # the error is the answer
            sentence = str(error)
        yield json.dumps({"same": worst is not None, "largest_difference": worst, "sentence": sentence})

    return [agreement, recompute]


def _files() -> list[Callable[..., str]]:
    def check(run: str) -> str:
        """Whether a text is a well-formed run: a sentence about it, or else an error that says what is wrong where.

        Parameters:
            run: A run as JSON Lines, at most 8 MB.
        """
        return f"A well-formed run: {summary(_read(run))}."

    def export(run: str, form: str = "csv") -> str:
        """A run as a file: the text to put into it.

        Parameters:
            run: A run as JSON Lines, at most 8 MB.
            form: "csv", "md" (a table), "html" (plays offline) or "jsonl", up to 1 MB; POST /keep/html writes any size.
        """
        if form not in SENT_FORMS:
            is_large = form in list(FORMATS)
            raise RequestError(Message("keep.by_post", form=form) if is_large else unknown_form(form, SENT_FORMS))
        content = write_export(form, _read(run))
        if len(content) > MAX_ANSWER_BYTES:
            raise RequestError(
                Message("keep.large", count=f"{len(content):,}", most=f"{MAX_ANSWER_BYTES:,}", form=form)
            )
        return content if isinstance(content, str) else content.decode("utf-8-sig")

    return [check, export]


# ---- what they have in common


def _reserve_memory(registry: ModelRegistry, engine: Engine, kind: Kind, trace: Trace) -> Reservation:
    """Wait for the memory of recomputing a run, and reserve it."""
    waiting = actions.reserve_memory(registry, engine, kind, trace, len(trace.steps), trace.top_k)
    return result_of(waiting)


def _read(run: object) -> Trace:
    if not isinstance(run, str):
        raise RequestError(Message("read.text", type=json_type_of(run)))
    if len(data := run.encode("utf-8", "surrogatepass")) > MAX_RUN_BYTES:
        raise RequestError(Message("file.bytes", count=f"{len(data):,}", most=f"{MAX_RUN_BYTES:,}"))
    return read_run(data)


def _example() -> str:
    """The first step of a recorded run with all its candidates, escaped for Gradio, which puts it between quotes."""
    trace = Trace.from_jsonl(assets.read("recorded/starter.jsonl"))
    trace = replace(trace, steps=trace.steps[:1], max_new_tokens=1, note="")
    return json.dumps(trace.to_jsonl())[1:-1]


def check_mcp() -> None:
    """Raises SystemExit if the package mcp is missing or of another version; Gradio would silently go without the
    server.
    """
    try:
        there = version("mcp")
    except PackageNotFoundError:
        there = ""
    if not there.startswith("1."):
        found = f"and here is {there}" if there else "which is not installed"
        raise SystemExit(f'--mcp on needs version 1 of the package mcp, {found}. Run: pip install "gradio[mcp]"')
