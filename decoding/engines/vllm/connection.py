"""The connection to a vLLM server: its URL and key, and the meaning of error responses.

Owns the key: it comes from the environment, goes into one header, and appears in no message. Knows no run and no
thread.
"""

import os
import socket
import ssl
from contextlib import suppress
from typing import Any, NoReturn

import httpx

from decoding.engines.vllm.responses import BrokenAnswerError
from decoding.errors import ModelError, RequestError
from decoding.messages import Message

KEY = "GREEDYSCOPE_ENGINE_KEY"
"""The environment variable with a server's key; there is no other way to give one."""
CONNECT_SECONDS = 2.0
_BEARER = "Bearer "


def make_client(url: str) -> httpx.AsyncClient:
    """An HTTP client of the server at `url`. Raises RequestError for an invalid URL or key."""
    try:
        address = httpx.URL(url)
    except (httpx.InvalidURL, TypeError, ValueError):
        address = httpx.URL("")
    if address.scheme not in ("http", "https") or not address.host:
        raise RequestError(Message("address.form"))
    if address.userinfo:
        raise RequestError(Message("address.key"))
    key = os.environ.get(KEY, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise RequestError(Message("engine.key.odd"))
    path = address.path.rstrip("/").removesuffix("/v1")
    return httpx.AsyncClient(
        base_url=address.copy_with(path=path or "/", query=None, fragment=None),
        headers={"Authorization": _BEARER + key} if key else {},
        timeout=httpx.Timeout(None, connect=CONNECT_SECONDS),  # `client` limits the other waits
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),
        verify=ssl.create_default_context(),
        trust_env=False,  # no keys from other environment variables
    )


def to_broken_answer(error: Exception) -> BrokenAnswerError:
    """The BrokenAnswerError that a transport error means."""
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return BrokenAnswerError(_why_no_connection(error))
    if isinstance(error, httpx.HTTPError):
        return BrokenAnswerError(Message("engine.why.cut"))
    return BrokenAnswerError(Message("engine.why.garbled"))


def _why_no_connection(error: BaseException) -> Message:
    """The reason in a few words. httpx keeps the operating system's error at the end of the chain of causes."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__ or error
    if isinstance(error, ssl.SSLCertVerificationError):
        return Message("engine.why.certificate")
    if isinstance(error, ssl.SSLError):
        return Message("engine.why.tls")
    if isinstance(error, socket.gaierror | UnicodeError):  # a name with an empty part cannot be encoded
        return Message("engine.why.host")
    if isinstance(error, ConnectionRefusedError):
        return Message("engine.why.refused")
    return Message("engine.why.connection")


def check_response(response: httpx.Response) -> None:
    """Raises the error that a response with another status than 200 means; see `raise_refusal`."""
    if response.status_code != 200:
        is_page = "html" in response.headers.get("Content-Type", "")
        reason = response.reason_phrase if is_page else response.text
        with suppress(ValueError, AttributeError, KeyError, TypeError):
            reason = str(response.json()["error"]["message"])
        raise_refusal(response.status_code, reason, response.request.headers)


def raise_refusal(status: Any, reason: str, headers: httpx.Headers) -> NoReturn:
    """Raises the error that a server's `status` and message mean: BrokenAnswerError if another replica may answer, else
    ModelError. `headers` are those of the request; the key in them is removed from the message.
    """
    if status in (401, 403):
        raise ModelError(Message("engine.key"))
    if not isinstance(status, int) or status >= 500 or status in (408, 425, 429):
        raise BrokenAnswerError(Message("engine.why.status", status=str(status)[:40]))
    if key := headers.get("Authorization", "").removeprefix(_BEARER):
        reason = reason.replace(key, "…")
    raise ModelError(Message("engine.refused", status=status, quote=reason[:300]))
