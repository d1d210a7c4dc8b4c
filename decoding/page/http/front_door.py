"""The first that a request meets: its headers, of which only those are let in that can be believed and read.

Owns which proxy is believed, what a Host and an Origin look like, and that no answer in which they stand is kept by
anybody. Gradio believes `X-Forwarded-Host` and `X-Gradio-Server` of everybody, writes them into the page, and fails
over a port that is none. Knows no body and no page.
"""

import re
from collections.abc import Iterable

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from decoding.page.http.addresses import believed, is_believed

Headers = list[tuple[bytes, bytes]]

KEPT_BY_BROWSERS = ("/assets/", "/static/", "/svelte/", "/gradio_api/file=", "/favicon.ico")
"""What is the same for everybody, whatever the headers are."""

_HOST = re.compile(rb"(?:[A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{1,5}))?")
_SCHEME = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]{0,30}://")
_OF_A_PROXY = (b"x-forwarded-", b"forwarded", b"x-real-ip", b"x-gradio-")
_BELIEVED = (b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host")
_NO_HOST = "The request does not name a valid host."


def is_host(value: bytes) -> bool:
    """Whether a value is a name or an address, with a port or without."""
    found = _HOST.fullmatch(value)
    return found is not None and int(found[1] or 0) < 65_536


def is_origin(value: bytes) -> bool:
    """Whether a value is an origin as browsers name theirs."""
    scheme = _SCHEME.match(value)
    return value == b"null" or (scheme is not None and is_host(value[scheme.end() :]))


def let_in(headers: Iterable[tuple[bytes, bytes]], *, from_proxy: bool) -> Headers:
    """The headers without those that a stranger set in a proxy's name, and without what nobody could read."""
    return [(name, value) for name, value in headers if _is_let_in(name, value, from_proxy)]


def _is_let_in(name: bytes, value: bytes, from_proxy: bool) -> bool:
    if name == b"origin":
        return is_origin(value)
    if not name.startswith(_OF_A_PROXY):
        return True
    if not from_proxy or name not in _BELIEVED:
        return False
    return name != b"x-forwarded-host" or is_host(value.split(b",")[0].strip())


class FrontDoor:
    """ASGI, outside of everything else of the page."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = ProxyHeadersMiddleware(app, trusted_hosts=believed())  # type: ignore[arg-type]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)  # type: ignore[arg-type]
            return
        peer = (scope.get("client") or ("",))[0]  # who is there, not whom they speak for
        headers = let_in(scope["headers"], from_proxy=is_believed(peer))
        hosts = [value for name, value in headers if name == b"host"]
        if not hosts and scope["http_version"] == "1.0":  # which need not name one: a proxy's look whether we live
            headers.append((b"host", _own_host(scope)))
        elif len(hosts) != 1 or not is_host(hosts[0]):
            await PlainTextResponse(_NO_HOST, 400, {"connection": "close"})(scope, receive, send)
            return
        is_kept = scope["path"].removeprefix(scope.get("root_path", "")).startswith(KEPT_BY_BROWSERS)
        await self._app(scope | {"headers": headers}, receive, send if is_kept else _not_stored(send))  # type: ignore


def _own_host(scope: Scope) -> bytes:
    host, port = scope.get("server") or ("localhost", None)
    named = f"[{host}]" if ":" in host else host
    return (f"{named}:{port}" if port else named).encode("latin-1", "replace")


def _not_stored(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = message.setdefault("headers", [])
            if not any(name.lower() == b"cache-control" for name, _ in headers):
                message["headers"] = [*headers, (b"cache-control", b"no-store")]
        await send(message)

    return sent
