"""Stops Gradio's loader, which counts seconds in every frame until the page is closed, though it is removed early.

This page shows no seconds, so a script refuses the loader's frames. The loader's file reads `requestAnimationFrame`
once, when it is loaded. Gradio adds its own `head` to the page after that, so the script is added here, to the HTML as
it is sent. With it come the page's large scripts, which have to be there before Gradio draws the panel, and the
relative addresses of the icon and the manifest: a browser would ask for both at the root of the host, outside of a
proxy's path prefix.
"""

from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from decoding import assets
from decoding.page.http.header_filter import is_page

_HEAD = b"<head>"
_ICON = b'<link rel="icon" href="favicon.ico">'
_MANIFEST = b'<link rel="manifest" href="%smanifest.json"'


def no_loader_frames(scripts: str) -> Middleware:
    """`scripts` are elements, which come into the page's head too."""
    return Middleware(_PageWithScript, scripts=scripts)


class _PageWithScript:
    def __init__(self, app: ASGIApp, scripts: str) -> None:
        self._app = app
        self._script = b"%s<script>%s</script>%s" % (_ICON, assets.read("loader_frames.js").encode(), scripts.encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        waiting: Message | None = None  # the headers, until the length of the page is known

        async def sent(message: Message) -> None:
            nonlocal waiting
            if message["type"] == "http.response.start":
                waiting = message
                return
            if waiting:
                headers, body = MutableHeaders(scope=waiting), message.get("body", b"")
                if _HEAD in body and "content-length" in headers:
                    ours = body.replace(_HEAD, _HEAD + self._script, 1).replace(_MANIFEST % b"/", _MANIFEST % b"", 1)
                    headers["content-length"] = str(int(headers["content-length"]) + len(ours) - len(body))
                    message = {**message, "body": ours}
                await send(waiting)
                waiting = None
            await send(message)

        await self._app(scope, receive, sent if is_page(scope) else send)
