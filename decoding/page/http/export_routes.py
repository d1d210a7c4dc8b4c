"""The export routes: `POST /keep/csv` with a run as JSON Lines in its body returns a file.

Owns the formats, the limits of what may come in, and the threads that write files. Knows no model and no component,
keeps nothing, and needs no session, so any replica can answer.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from decoding.assets import texts
from decoding.errors import FormatError, GreedyscopeError, RequestError
from decoding.export import to_csv_file, to_html, to_markdown
from decoding.limits import MAX_RUN_BYTES, MAX_RUN_LINES, MAX_TABLE_CHARACTERS, MAX_TEXT_TOKENS
from decoding.messages import Message, message_of, to_json
from decoding.page.http.addresses import address_of
from decoding.page.http.request_body import BodyReservation, RefusedError, body_reservation, read_body
from decoding.page.http.thread_pool import WorkerPool
from decoding.questions.verify import parse_run
from decoding.record.trace import Trace
from decoding.requests.values import shown

CHUNK_BYTES = 2**16
"""A response is sent in chunks of this many bytes, each of which must be taken within the connection's time limit."""


@dataclass(frozen=True, slots=True)
class _Format:
    media_type: str
    write: Callable[[Trace, str], str | bytes]
    """Writes a run in this format, with headings in a language."""
    is_large: bool = False


def _markdown(trace: Trace, language: str) -> str:
    if (size := len(trace.steps) * len(trace.text)) > MAX_TABLE_CHARACTERS:
        raise RequestError(Message("file.table", count=f"{size:,}", most=f"{MAX_TABLE_CHARACTERS:,}"))
    return to_markdown(trace, language)


FORMATS = {
    "jsonl": _Format("application/jsonl", lambda trace, _: trace.to_jsonl()),
    "csv": _Format("text/csv; charset=utf-8", to_csv_file),
    "md": _Format("text/markdown; charset=utf-8", _markdown),
    "html": _Format("text/html; charset=utf-8", lambda trace, language: to_html(trace, language=language)),
    "html-plotly": _Format(
        "text/html; charset=utf-8",
        lambda trace, language: to_html(trace, plotly=True, language=language),
        is_large=True,
    ),
}

_HEADERS = {"cache-control": "no-store", "content-disposition": "attachment", "x-content-type-options": "nosniff"}


def export_routes() -> list[Route]:
    """The routes to serve beside Gradio's."""
    pool = WorkerPool()

    async def export(request: Request) -> Response:
        address = address_of(request)
        async with body_reservation(address) as reservation:
            return await _export(request, pool, address, reservation)

    return [Route("/keep/{form}", export, methods=["POST"])]


async def _export(request: Request, pool: WorkerPool, address: str | None, reservation: BodyReservation) -> Response:
    form = request.path_params["form"]
    if form not in FORMATS:
        return _refusal(request, unknown_form(form, FORMATS), 404)
    language = request.query_params.get("language", "")

    def work() -> bytes:
        content = write_export(form, read_run(data), language)
        return content.encode() if isinstance(content, str) else content

    try:
        data = await read_body(
            request.receive, MAX_RUN_BYTES, reservation, too_large=Message("file.large", most=MAX_RUN_BYTES // 2**20)
        )
        content = await pool.run(
            work, address, request.receive
        )  # the body has been read, so only a disconnect can come
        reservation.add(len(content))
    except GreedyscopeError as error:
        return _refusal(request, error.message, 422)
    except RefusedError as refused:
        return _refusal(request, message_of(refused), refused.status)
    return _ChunkedResponse(content, FORMATS[form].media_type, reservation.transfer())


def _refusal(request: Request, message: str, status: int) -> Response:
    """The sentence in English, or for a caller that accepts JSON, as the page does, the message that it is."""
    if "application/json" in request.headers.get("accept", ""):
        return JSONResponse(to_json(message), status)
    return PlainTextResponse(message, status)


class _ChunkedResponse(Response):
    """A response that is sent in chunks. Its bytes stay reserved until the last one is sent or the reader has left."""

    def __init__(self, content: bytes, media_type: str, reservation: BodyReservation) -> None:
        super().__init__(content, media_type=media_type, headers=_HEADERS)
        self._hold = reservation

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            for first in range(0, len(self.body), CHUNK_BYTES):
                more = first + CHUNK_BYTES < len(self.body)
                piece = bytes(self.body[first : first + CHUNK_BYTES])
                await send({"type": "http.response.body", "body": piece, "more_body": more})
            if not self.body:
                await send({"type": "http.response.body", "body": b""})
        finally:
            self._hold.release()


def read_run(data: bytes) -> Trace:
    """Parse an untrusted run. Raises FormatError for anything else, and for too many steps."""
    if not data.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{"):
        raise FormatError(Message("file.kind"))
    if (lines := data.count(b"\n")) > MAX_RUN_LINES:
        raise FormatError(Message("file.steps", count=f"{lines - 2:,}", most=f"{MAX_TEXT_TOKENS:,}"))
    return parse_run(data)


def unknown_form(form: object, forms: Iterable[str]) -> Message:
    """The refusal of a format that is not among `forms`."""
    return Message("file.form", form=shown(form), forms=", ".join(forms))


def write_export(form: str, trace: Trace, language: str = "") -> str | bytes:
    """Write a run in a format of `FORMATS`, with headings in a language such as "ko"; "" is English, and in HTML the
    reader's own.

    Raises RequestError for an unknown format, and for a table of too many MB.
    """
    if form not in FORMATS:
        raise RequestError(unknown_form(form, FORMATS))
    return FORMATS[form].write(trace, language if language in texts() else "")
