"""The HTTP client of a vLLM server: one thread for all runs, and a limit for every wait.

Owns the waits. Knows no token and no key. A busy server may be silent for long, so silence alone is no failure: the
server is asked for its health. A broken answer raises BrokenAnswerError, because another replica may answer; a refused
request raises ModelError, because asking again would not help.
"""

import asyncio
import json
import logging
import queue
import threading
import weakref
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Any, TypeVar

import httpx

from decoding.cancellation import raise_if_cancelled
from decoding.engines.vllm.connection import check_response, make_client, raise_refusal, to_broken_answer
from decoding.engines.vllm.responses import BrokenAnswerError
from decoding.errors import ModelError
from decoding.messages import Message, message_of

QUIET_SECONDS = 1.5
"""After this time without data the server is asked for its health."""
HEALTH_SECONDS = 2.0
"""The server must report its health within this time."""
RETRY_SECONDS = 4.5
"""From the last data until the retries end; with the error message it stays below five seconds."""
SILENCE_SECONDS = 60.0
"""The longest that a healthy server may send nothing."""
_POLL_SECONDS = 0.1  # how often a waiting thread checks whether its visitor has left


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a server is waited for. By default, the wait ends within five seconds of the last sign of life."""

    quiet_seconds: float = QUIET_SECONDS
    health_seconds: float = HEALTH_SECONDS
    retry_seconds: float = RETRY_SECONDS
    silence_seconds: float = SILENCE_SECONDS


T = TypeVar("T")
MarkData = Callable[[], None]


class ServerClient:
    """A client of the server at `address`, with the thread that runs its connections. Thread-safe.

    Raises RequestError for an invalid URL or key. Its methods raise BrokenAnswerError for an answer that broke,
    ModelError for a refusal, and WorkCancelledError if the calling thread's visitor has left.
    """

    def __init__(self, url: str, patience: Patience = Patience()) -> None:
        self._patience = patience
        self._async_client = _AsyncClient(make_client(url), patience)
        self.address = str(self._async_client.client.base_url).rstrip("/")
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=_run_loop, args=(self._loop,), name="model's server", daemon=True).start()
        self.close = weakref.finalize(self, _close, self._loop, self._async_client)

    def new_retry_budget(self) -> "RetryBudget":
        return RetryBudget(self, self._patience.retry_seconds)

    def get(self, path: str) -> Any:
        """The JSON at a path (GET)."""
        return self._wait(self._async_client.request("GET", path, None))

    def complete(self, body: dict[str, Any]) -> Any:
        """The JSON that answers a completion request."""
        return self._wait(self._async_client.request("POST", "/v1/completions", body))

    def stream(self, body: dict[str, Any]) -> Generator[Any, None, None]:
        """Yield the events of a streamed completion. Closing the iterator closes the connection."""
        arrived: queue.SimpleQueue[Any] = queue.SimpleQueue()
        future = self._start(self._async_client.stream(body, arrived.put))
        future.add_done_callback(lambda _: arrived.put(future))
        try:
            while True:
                raise_if_cancelled()
                with suppress(queue.Empty):
                    if (event := arrived.get(timeout=_POLL_SECONDS)) is future:
                        future.result()
                        return
                    yield event
        finally:
            future.cancel()

    def is_alive(self, seconds: float) -> bool:
        """Whether a server at the address reports its health within `seconds`."""
        return self._wait(self._async_client.is_alive(seconds))

    def _start(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        future = self._start(work)
        try:
            while True:
                raise_if_cancelled()
                with suppress(TimeoutError):  # `work` itself raises none
                    return future.result(timeout=_POLL_SECONDS)
        finally:
            future.cancel()


class _AsyncClient:
    """The part that runs in the thread. It holds no reference to `ServerClient`, so that an unused one is collected."""

    def __init__(self, speaker: httpx.AsyncClient, patience: Patience) -> None:
        self.client, self._patience = speaker, patience
        self._health_check: asyncio.Task[bool] | None = None
        self._asked = -1.0

    async def request(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        return await self._with_health_checks(lambda _: self._request(method, path, body))

    async def stream(self, body: dict[str, Any], on_event: Callable[[Any], None]) -> None:
        await self._with_health_checks(lambda mark_data: self._read(body, on_event, mark_data))

    async def _with_health_checks(self, read: Callable[[MarkData], Coroutine[Any, Any, T]]) -> T:
        """The result of `read`, which calls its argument whenever data comes. Raises BrokenAnswerError if the server
        falls silent.
        """
        last_data = asked = monotonic()
        quiet, silent = self._patience.quiet_seconds, self._patience.silence_seconds

        def mark_data() -> None:
            nonlocal last_data
            last_data = monotonic()

        reading = asyncio.ensure_future(read(mark_data))
        try:
            while not reading.done():
                await asyncio.wait({reading}, timeout=max(last_data, asked) + quiet - monotonic())
                asked = monotonic()
                if reading.done() or asked - last_data < quiet:
                    continue
                is_alive = await self.is_alive(self._patience.health_seconds)
                if last_data < asked and not (reading.done() or (is_alive and asked - last_data < silent)):
                    raise BrokenAnswerError(Message("engine.why.quiet"), last_data=last_data)
            return reading.result()
        except BrokenAnswerError as error:
            if error.last_data is None:
                error.last_data = monotonic()
            raise
        finally:
            reading.cancel()
            await asyncio.wait({reading})

    async def _request(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        try:
            response = await self.client.request(method, path, json=body)
            check_response(response)
            return response.json()
        except (httpx.HTTPError, ValueError) as error:
            raise to_broken_answer(error) from error

    async def _read(self, body: dict[str, Any], on_event: Callable[[Any], None], mark_data: MarkData) -> None:
        try:
            async with self.client.stream("POST", "/v1/completions", json=body) as response:
                mark_data()
                if response.status_code != 200:
                    await response.aread()
                    check_response(response)
                async for line in response.aiter_lines():
                    mark_data()
                    if line == "data: [DONE]":
                        return
                    if line.startswith("data:"):
                        event = json.loads(line.removeprefix("data:"))
                        if error := event.get("error"):
                            raise_refusal(error.get("code"), str(error.get("message")), self.client.headers)
                        on_event(event)
        except (httpx.HTTPError, ValueError, AttributeError) as error:
            raise to_broken_answer(error) from error
        raise BrokenAnswerError(Message("engine.why.early"))

    async def is_alive(self, seconds: float) -> bool:
        """One health check at a time, shared by all who wait for one."""
        is_old = monotonic() - self._asked > self._patience.quiet_seconds / 2
        if self._health_check is None or (self._health_check.done() and is_old):
            self._asked, self._health_check = monotonic(), asyncio.ensure_future(self._ask_health())
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                return await asyncio.shield(self._health_check)
        return False

    async def _ask_health(self) -> bool:
        with suppress(httpx.HTTPError):
            return (await self.client.get("/health", timeout=self._patience.health_seconds)).status_code < 500
        return False


class RetryBudget:
    """Limits how long an answer is retried after it broke: for `seconds` from the last data."""

    def __init__(self, client: ServerClient, seconds: float) -> None:
        self._client, self._seconds = client, seconds
        self._ends: float | None = None
        self._tries = 0

    def reset(self) -> None:
        """Restart the limit, because data came."""
        self._ends, self._tries = None, 0

    def wait_or_raise(self, error: BrokenAnswerError) -> None:
        """Wait until a retry makes sense. Raises ModelError if the time is over."""
        if self._ends is None:
            self._ends = (error.last_data or monotonic()) + self._seconds
        logging.getLogger(__name__).info("the model's server: %s", error)
        while (left := self._ends - monotonic()) > 0:
            pause = min(left, 0.05 * 2 ** min(self._tries, 4))
            self._tries += 1
            sleep(pause)
            raise_if_cancelled()
            if self._client.is_alive(max(0.0, self._ends - monotonic())):
                return
        raise ModelError(Message("engine.silent", why=message_of(error))) from error


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    loop.run_forever()
    loop.close()


def _close(loop: asyncio.AbstractEventLoop, async_client: _AsyncClient) -> None:
    """End the thread, and cancel what still waits in it."""

    async def close() -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await async_client.client.aclose()
        loop.stop()

    if loop.is_running():
        asyncio.run_coroutine_threadsafe(close(), loop)
