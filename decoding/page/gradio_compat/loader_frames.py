"""A page at rest draws nothing: Gradio's loader is given no frames.

The loader counts its seconds in every frame, and goes on for as long as the page lives, though it has gone when the
page has come. No seconds are shown here. Its file keeps the function that it finds when it begins, and what Gradio
takes as `head` comes after that, so the script is written into the page as it is sent.
"""

from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from decoding import assets

_HEAD = b"<head>"


def no_loader_frames() -> Middleware:
    return Middleware(_PageWithScript)


class _PageWithScript:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._script = b"<script>%s</script>" % assets.read("loader_frames.js").encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_page = scope["type"] == "http" and scope["path"].removeprefix(scope.get("root_path", "")) in ("", "/")
        waiting: Message | None = None  # the headers, until it is known how long the page is

        async def sent(message: Message) -> None:
            nonlocal waiting
            if message["type"] == "http.response.start":
                waiting = message
                return
            if waiting:
                headers, body = MutableHeaders(scope=waiting), message.get("body", b"")
                if _HEAD in body and "content-length" in headers:
                    headers["content-length"] = str(int(headers["content-length"]) + len(self._script))
                    message = {**message, "body": body.replace(_HEAD, _HEAD + self._script, 1)}
                await send(waiting)
                waiting = None
            await send(message)

        await self._app(scope, receive, sent if is_page else send)
