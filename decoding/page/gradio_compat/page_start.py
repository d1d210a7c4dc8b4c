"""What the page's head begins with, written into the HTML as it is sent: Gradio adds its own `head` too late for it.

- The page's large scripts. The panel's has to be there before Gradio draws the panel.
- A script that stops Gradio's loader, which counts seconds in every frame until the page is closed, though it is
  removed early, and this page shows no seconds. The loader's file reads `requestAnimationFrame` once, as it is loaded.
- The relative addresses of the icon and the manifest: a browser would ask for both at the root of the host, outside of
  a proxy's path prefix.
- A sentence for who has no JavaScript, or whose browser did not get the panel's script: the page would be blank, or
  look alive and do nothing.
"""

import json
from collections.abc import Sequence

from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from decoding import assets
from decoding.page.http.header_filter import is_page
from decoding.page.http.script_routes import PageScript

_HEAD, _APP = b"<head>", b"<gradio-app"
_ICON = b'<link rel="icon" href="favicon.ico">'
_MANIFEST = b'<link rel="manifest" href="%smanifest.json"'

_NO_SCRIPT = "".join(f'<p lang="{language}">{words["page.script"]}</p>' for language, words in assets.texts().items())
"""In all languages: the script knows which one the reader chose, and it is missing."""
# Under the name of the function that draws the panel, until the panel's script defines it.
_INSTEAD = (
    f"<script>window.startGreedyscope = (element) => {{ element.innerHTML = {json.dumps(_NO_SCRIPT)}; }};</script>"
)


def page_start(scripts: Sequence[PageScript]) -> Middleware:
    """The page waits for the first of the `scripts`, and for none of the others."""
    elements = [
        _INSTEAD,
        *(f'<script{" async" * bool(n)} src="{script.address}"></script>' for n, script in enumerate(scripts)),
    ]
    return Middleware(_PageStart, scripts="".join(elements))


class _PageStart:
    def __init__(self, app: ASGIApp, scripts: str) -> None:
        self._app = app
        self._start = b"%s<script>%s</script>%s" % (_ICON, assets.read("loader_frames.js").encode(), scripts.encode())

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
                    ours = body.replace(_HEAD, _HEAD + self._start, 1).replace(_MANIFEST % b"/", _MANIFEST % b"", 1)
                    ours = ours.replace(_APP, f"<noscript>{_NO_SCRIPT}</noscript>".encode() + _APP, 1)
                    headers["content-length"] = str(int(headers["content-length"]) + len(ours) - len(body))
                    message = {**message, "body": ours}
                await send(waiting)
                waiting = None
            await send(message)

        await self._app(scope, receive, sent if is_page(scope) else send)
