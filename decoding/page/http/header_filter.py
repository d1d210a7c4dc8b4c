"""The header filter: the first check of a request; it lets only trusted and valid headers pass.

Owns which forwarding headers are trusted, what a valid Host and Origin are, that no cache keeps a response that
contains them, and that browsers keep Gradio's scripts. Gradio trusts `X-Forwarded-Host` and `X-Gradio-Server` from
everybody, writes them into the page, and fails for an invalid port. Knows no body and no page.
"""

import re
from collections.abc import Iterable

from starlette.datastructures import MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.types import Message as AsgiMessage
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from decoding.messages import Message
from decoding.page.http.addresses import is_trusted_proxy, trusted_proxies
from decoding.page.http.script_routes import FOR_EVER

Headers = list[tuple[bytes, bytes]]

HASHED_PATH = "/assets/"
"""Gradio's scripts and styles, each with a hash in its name. Gradio does not say how long a browser may keep them, nor
does it answer that one has not changed.
"""
CACHEABLE_PATHS = ("/static/", "/svelte/", "/scripts/", "/favicon.ico")
"""Other paths whose responses do not depend on headers."""

_HOST = re.compile(rb"(?:[A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{1,5}))?")
_SCHEME = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]{0,30}://")
_PROXY_PREFIXES = (b"x-forwarded-", b"forwarded", b"x-real-ip", b"x-gradio-")
_TRUSTED = (b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host")


def is_host(value: bytes) -> bool:
    """Whether a value is a host name or address, with or without a port."""
    found = _HOST.fullmatch(value)
    return found is not None and int(found[1] or 0) < 65_536


def is_origin(value: bytes) -> bool:
    """Whether a value is an origin as browsers send it."""
    scheme = _SCHEME.match(value)
    return value == b"null" or (scheme is not None and is_host(value[scheme.end() :]))


def allowed_headers(headers: Iterable[tuple[bytes, bytes]], *, from_proxy: bool) -> Headers:
    """The headers without forwarding headers from untrusted peers, and without invalid ones."""
    return [(name, value) for name, value in headers if _is_allowed(name, value, from_proxy)]


def _is_allowed(name: bytes, value: bytes, from_proxy: bool) -> bool:
    if name == b"origin":
        return is_origin(value)
    if not name.startswith(_PROXY_PREFIXES):
        return True
    if not from_proxy or name not in _TRUSTED:
        return False
    return name != b"x-forwarded-host" or is_host(value.split(b",")[0].strip())


def path_of(scope: Scope) -> str:
    """The path of an HTTP request, without the prefix under which the page is served."""
    return str(scope["path"]).removeprefix(scope.get("root_path", ""))


def is_page(scope: Scope) -> bool:
    """Whether a request is for the page itself."""
    return scope["type"] == "http" and path_of(scope) in ("", "/")


class HeaderFilter:
    """ASGI middleware around everything else of the page."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = ProxyHeadersMiddleware(app, trusted_hosts=trusted_proxies())  # type: ignore[arg-type]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)  # type: ignore[arg-type]
            return
        peer = (scope.get("client") or ("",))[0]  # the peer itself, not whom it forwards
        headers = allowed_headers(scope["headers"], from_proxy=is_trusted_proxy(peer))
        hosts = [value for name, value in headers if name == b"host"]
        if not hosts and scope["http_version"] == "1.0":  # HTTP 1.0 needs no Host; a proxy's health check may omit it
            headers.append((b"host", _own_host(scope)))
        elif len(hosts) != 1 or not is_host(hosts[0]):
            await PlainTextResponse(Message("line.no_host"), 400, {"connection": "close"})(scope, receive, send)
            return
        path = path_of(scope)
        if not path.startswith(CACHEABLE_PATHS):
            send = _cached(send, FOR_EVER if path.startswith(HASHED_PATH) else "no-store")
        await self._app(scope | {"headers": headers}, receive, send)  # type: ignore


def _own_host(scope: Scope) -> bytes:
    host, port = scope.get("server") or ("localhost", None)
    named = f"[{host}]" if ":" in host else host
    return (f"{named}:{port}" if port else named).encode("latin-1", "replace")


def _cached(send: Send, control: str) -> Send:
    """`control` for an answer that does not say how it may be cached; an error is not stored in any case."""

    async def sent(message: AsgiMessage) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.setdefault("cache-control", control if message["status"] == 200 else "no-store")
        await send(message)

    return sent
