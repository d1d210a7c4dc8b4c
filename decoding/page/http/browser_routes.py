"""The files with which a visitor's browser computes: `/in-browser/` and everything below it.

Owns their headers, and those of the page with which its scripts may use several threads. Nothing is written, computed
or compressed for a request. Knows no model.
"""

import os
from pathlib import Path

from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from decoding.page.browser_offer import BASE
from decoding.page.http.header_filter import is_page
from decoding.page.http.script_routes import FOR_EVER

ISOLATION = {"cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp"}
"""Kept apart from other sites, a page may share memory between threads. Browsers heed this over https and on this
machine only; elsewhere, and in a frame of another site, the engine has one thread.
"""


class BrowserFiles(StaticFiles):
    """The files of a folder, with sizes, ranges and entity tags; anything else is 404."""

    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        kept = FOR_EVER if Path(full_path).parent.name == "model" else "no-cache"
        # Gradio compresses what says nothing of its encoding: each time anew, in the event loop.
        more = {"cache-control": kept, "content-encoding": "identity", "x-content-type-options": "nosniff"}
        response.headers.update(ISOLATION | more)
        return response


def browser_routes(folder: Path) -> list[Mount]:
    """The routes to serve beside Gradio's."""
    return [Mount(f"/{BASE.rstrip('/')}", BrowserFiles(directory=folder))]


def isolation() -> Middleware:
    return Middleware(IsolatedPage)


class IsolatedPage:
    """ASGI middleware: the page itself is kept apart from other sites."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(ISOLATION)
            await send(message)

        await self._app(scope, receive, sent if is_page(scope) else send)
