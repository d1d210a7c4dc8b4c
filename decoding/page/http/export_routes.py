"""A run as a file, and a file as a run, over HTTP: `POST keep/csv` with JSON Lines as its body is answered by a table.

Owns what may come in: so many bytes, so many steps, a run and nothing else. Knows no model and no component, keeps
nothing, and needs no session, so that any replica can answer.
"""

from collections.abc import Callable
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from decoding.assets import texts
from decoding.errors import FormatError, GreedyscopeError, RequestError
from decoding.export import to_csv_file, to_html, to_markdown
from decoding.limits import MAX_RUN_BYTES, MAX_TABLE_CHARACTERS, MAX_TEXT_TOKENS
from decoding.record.trace import Trace
from decoding.verify import run_of


@dataclass(frozen=True, slots=True)
class _Form:
    media_type: str
    write: Callable[[Trace, str], str | bytes]
    """A run as this form, with its headings in a language."""


def _markdown(trace: Trace, language: str) -> str:
    if (size := len(trace.steps) * len(trace.text)) > MAX_TABLE_CHARACTERS:
        raise RequestError(
            f"This run's Markdown table would repeat the text to {size:,} characters; at most "
            f"{MAX_TABLE_CHARACTERS:,} are written. Save it as CSV."
        )
    return to_markdown(trace, language)


FORMS = {
    "jsonl": _Form("application/jsonl", lambda trace, _: trace.to_jsonl()),
    "csv": _Form("text/csv; charset=utf-8", to_csv_file),
    "md": _Form("text/markdown; charset=utf-8", _markdown),
    "html": _Form("text/html; charset=utf-8", lambda trace, language: to_html(trace, language=language)),
    "html-plotly": _Form(
        "text/html; charset=utf-8", lambda trace, language: to_html(trace, plotly=True, language=language)
    ),
}

_NO_FORM = f"There is no such form. Ask for one of: {', '.join(FORMS)}."
_HEADERS = {"cache-control": "no-store", "content-disposition": "attachment", "x-content-type-options": "nosniff"}


def file_routes() -> list[Route]:
    """The routes to serve beside the page's own."""
    return [Route("/keep/{form}", _keep, methods=["POST"])]


async def _keep(request: Request) -> Response:
    form = request.path_params["form"]
    if form not in FORMS:
        return PlainTextResponse(_NO_FORM, 404)
    language = request.query_params.get("language", "")
    data = b""
    async for part in request.stream():
        data += part
        if len(data) > MAX_RUN_BYTES:
            return PlainTextResponse(f"The run is larger than {MAX_RUN_BYTES // 2**20} MB; no larger one is read.", 413)
    try:
        content = await run_in_threadpool(lambda: written(form, read_run(data), language))
    except GreedyscopeError as error:
        return PlainTextResponse(str(error), 422)
    return Response(content, media_type=FORMS[form].media_type, headers=_HEADERS)


def read_run(data: bytes) -> Trace:
    """The run that a stranger's bytes are. Raises FormatError for what is none, and for one of too many steps."""
    if not data.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{"):
        raise FormatError(
            "It is no JSON Lines: it does not begin as a run does. Save a run as JSON Lines, and open that."
        )
    if (steps := data.count(b"\n") - 2) > MAX_TEXT_TOKENS:
        raise FormatError(f"It has {steps:,} steps; at most {MAX_TEXT_TOKENS:,} are read here.")
    return run_of(data)


def written(form: str, trace: Trace, language: str = "") -> str | bytes:
    """A run in a form of `FORMS`, its headings in a language, as "ko"; "" is English, and in HTML the reader's own.

    Raises RequestError for a form that there is not, and for a table of too many MB.
    """
    if form not in FORMS:
        raise RequestError(_NO_FORM)
    return FORMS[form].write(trace, language if language in texts() else "")
