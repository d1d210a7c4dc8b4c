"""A run as a file, and a file as a run, over HTTP: `POST keep/csv` with JSON Lines as its body is answered by a table.

Owns what may come in: so many bytes, so many steps, a run and nothing else; and the threads that write it. Knows no
model and no component, keeps nothing, and needs no session, so that any replica can answer.
"""

from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from decoding.assets import texts
from decoding.errors import FormatError, GreedyscopeError, RequestError
from decoding.export import to_csv_file, to_html, to_markdown
from decoding.limits import MAX_RUN_BYTES, MAX_TABLE_CHARACTERS, MAX_TEXT_TOKENS
from decoding.page.http.addresses import visitors_address
from decoding.page.http.bodies import Hold, RefusedError, held, read
from decoding.page.http.pool import Pool
from decoding.record.trace import Trace
from decoding.verify import run_of

PIECE_BYTES = 2**16
"""An answer goes out so many bytes at a time, each of which has to be taken within the time that connections have."""


@dataclass(frozen=True, slots=True)
class _Form:
    media_type: str
    write: Callable[[Trace, str], str | bytes]
    """A run as this form, with its headings in a language."""
    is_large: bool = False


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
        "text/html; charset=utf-8",
        lambda trace, language: to_html(trace, plotly=True, language=language),
        is_large=True,
    ),
}

_NO_FORM = f"There is no such format. Ask for one of: {', '.join(FORMS)}."
_TOO_LARGE = f"The run is larger than {MAX_RUN_BYTES // 2**20} MB, which is the limit."
_HEADERS = {"cache-control": "no-store", "content-disposition": "attachment", "x-content-type-options": "nosniff"}


def file_routes() -> list[Route]:
    """The routes to serve beside the page's own."""
    pool = Pool()

    async def keep(request: Request) -> Response:
        address = visitors_address(request.client.host) if request.client else None
        async with held(address) as hold:
            return await _kept(request, pool, address, hold)

    return [Route("/keep/{form}", keep, methods=["POST"])]


async def _kept(request: Request, pool: Pool, address: str | None, hold: Hold) -> Response:
    form = request.path_params["form"]
    if form not in FORMS:
        return PlainTextResponse(_NO_FORM, 404)
    language = request.query_params.get("language", "")

    def work() -> bytes:
        content = written(form, read_run(data), language)
        return content.encode() if isinstance(content, str) else content

    try:
        data = await read(request.receive, MAX_RUN_BYTES, hold, too_large=_TOO_LARGE)
        content = await pool.do(work, address, request.receive)  # the body is read: all that comes is the end
        hold.add(len(content))
    except GreedyscopeError as error:
        return PlainTextResponse(str(error), 422)
    except RefusedError as refused:
        return PlainTextResponse(str(refused), refused.status)
    return _File(content, FORMS[form].media_type, hold.handed_on())


class _File(Response):
    """An answer that goes out in pieces, whose bytes are held until the last has gone or its reader has."""

    def __init__(self, content: bytes, media_type: str, hold: Hold) -> None:
        super().__init__(content, media_type=media_type, headers=_HEADERS)
        self._hold = hold

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            for first in range(0, len(self.body), PIECE_BYTES):
                more = first + PIECE_BYTES < len(self.body)
                piece = bytes(self.body[first : first + PIECE_BYTES])
                await send({"type": "http.response.body", "body": piece, "more_body": more})
            if not self.body:
                await send({"type": "http.response.body", "body": b""})
        finally:
            self._hold.release()


def read_run(data: bytes) -> Trace:
    """The run that a stranger's bytes are. Raises FormatError for what is none, and for one of too many steps."""
    if not data.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{"):
        raise FormatError(
            "It is not JSON Lines: it does not begin like a run. Save a run as JSON Lines, and open that."
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
