"""The way to a model's server: HTTP, in one thread for all runs, with an end to every wait.

Owns the waits. Knows no token and no key. A server that is busy may be silent for long, so silence alone
breaks nothing: it is asked whether it lives. What breaks raises BrokenAnswerError, since another replica may answer;
what was refused raises ModelError, since asking again would not help.
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
from time import monotonic, sleep
from typing import Any, TypeVar

import httpx

from decoding.cancellation import check_left
from decoding.engines.vllm.connection import broken, check, client, refuse
from decoding.engines.vllm.responses import BrokenAnswerError
from decoding.errors import ModelError

QUIET_SECONDS = 1.5
"""After so long without a word a server is asked whether it lives,"""
LIFE_SECONDS = 2.0
"""and has so long to say so."""
PATIENCE_SECONDS = 4.5
"""From the last word until nobody is asked any more; with what is said then it stays below five seconds."""
SILENCE_SECONDS = 60.0
"""The longest that a server may be alive and say nothing."""
_LOOK_SECONDS = 0.1  # so often it is looked whether whoever asked has left

T = TypeVar("T")
Heard = Callable[[], None]


class Wire:
    """A server's address, and the thread that speaks to it. Any thread may ask. Raises RequestError for an address or a
    key that is none.
    """

    def __init__(self, url: str) -> None:
        self._talk = _Talk(client(url))
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=_serve, args=(self._loop,), name="model's server", daemon=True).start()
        self.close = weakref.finalize(self, _close, self._loop, self._talk)

    def patience(self) -> "Patience":
        return Patience(self)

    def get(self, path: str) -> Any:
        """The JSON that stands at a path."""
        return self._wait(self._talk.request("GET", path, None))

    def ask(self, body: dict[str, Any]) -> Any:
        """The JSON that answers a completion."""
        return self._wait(self._talk.request("POST", "/v1/completions", body))

    def stream(self, body: dict[str, Any]) -> Generator[Any, None, None]:
        """The events of a completion, as they come. Closing this closes the connection at once."""
        arrived: queue.SimpleQueue[Any] = queue.SimpleQueue()
        future = self._start(self._talk.stream(body, arrived.put))
        future.add_done_callback(lambda _: arrived.put(future))
        try:
            while True:
                check_left()
                with suppress(queue.Empty):
                    if (event := arrived.get(timeout=_LOOK_SECONDS)) is future:
                        future.result()
                        return
                    yield event
        finally:
            future.cancel()

    def lives(self, seconds: float) -> bool:
        """Whether any server at the address says within so many seconds that it lives."""
        return self._wait(self._talk.lives(seconds))

    def _start(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        future = self._start(work)
        try:
            while True:
                check_left()
                with suppress(TimeoutError):  # nothing in `work` lets one out
                    return future.result(timeout=_LOOK_SECONDS)
        finally:
            future.cancel()


class _Talk:
    """What happens in the thread. It knows no `Wire`, so that one that nobody holds is let go."""

    def __init__(self, speaker: httpx.AsyncClient) -> None:
        self.client = speaker
        self._life: asyncio.Task[bool] | None = None
        self._asked = -1.0

    async def request(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        return await self._watched(lambda _: self._request(method, path, body))

    async def stream(self, body: dict[str, Any], tell: Callable[[Any], None]) -> None:
        await self._watched(lambda hear: self._read(body, tell, hear))

    async def _watched(self, read: Callable[[Heard], Coroutine[Any, Any, T]]) -> T:
        """What `read` returns; it calls its argument whenever something comes."""
        heard = asked = monotonic()

        def hear() -> None:
            nonlocal heard
            heard = monotonic()

        reading = asyncio.ensure_future(read(hear))
        try:
            while not reading.done():
                await asyncio.wait({reading}, timeout=max(heard, asked) + QUIET_SECONDS - monotonic())
                asked = monotonic()
                if reading.done() or asked - heard < QUIET_SECONDS:
                    continue
                is_alive = await self.lives(LIFE_SECONDS)
                if heard < asked and not (reading.done() or (is_alive and asked - heard < SILENCE_SECONDS)):
                    raise BrokenAnswerError("it fell silent", heard=heard)
            return reading.result()
        except BrokenAnswerError as error:
            if error.heard is None:
                error.heard = monotonic()
            raise
        finally:
            reading.cancel()
            await asyncio.wait({reading})

    async def _request(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        try:
            response = await self.client.request(method, path, json=body)
            check(response)
            return response.json()
        except (httpx.HTTPError, ValueError) as error:
            raise broken(error) from error

    async def _read(self, body: dict[str, Any], tell: Callable[[Any], None], hear: Heard) -> None:
        try:
            async with self.client.stream("POST", "/v1/completions", json=body) as response:
                hear()
                if response.status_code != 200:
                    await response.aread()
                    check(response)
                async for line in response.aiter_lines():
                    hear()
                    if line == "data: [DONE]":
                        return
                    if line.startswith("data:"):
                        event = json.loads(line.removeprefix("data:"))
                        if error := event.get("error"):
                            refuse(error.get("code"), str(error.get("message")), self.client.headers)
                        tell(event)
        except (httpx.HTTPError, ValueError, AttributeError) as error:
            raise broken(error) from error
        raise BrokenAnswerError("it ended too early")

    async def lives(self, seconds: float) -> bool:
        """Asked once for all who want to know at a time."""
        if self._life is None or (self._life.done() and monotonic() - self._asked > QUIET_SECONDS / 2):
            self._asked, self._life = monotonic(), asyncio.ensure_future(self._ask_life())
        with suppress(TimeoutError):
            return await asyncio.wait_for(asyncio.shield(self._life), seconds)
        return False

    async def _ask_life(self) -> bool:
        with suppress(httpx.HTTPError):
            return (await self.client.get("/health", timeout=LIFE_SECONDS)).status_code < 500
        return False


class Patience:
    """How long one answer is tried for, again and again, once it broke."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._ends: float | None = None
        self._tries = 0

    def renew(self) -> None:
        """Something came."""
        self._ends, self._tries = None, 0

    def spend(self, error: BrokenAnswerError) -> None:
        """Wait until asking again makes sense. Raises ModelError where it does not within the time there is."""
        if self._ends is None:
            self._ends = (error.heard or monotonic()) + PATIENCE_SECONDS
        logging.getLogger(__name__).warning("the model's server: %s", error)
        while (left := self._ends - monotonic()) > 0:
            pause = min(left, 0.05 * 2 ** min(self._tries, 4))
            self._tries += 1
            sleep(pause)
            check_left()
            if self._wire.lives(max(0.0, self._ends - monotonic())):
                return
        raise ModelError(
            f"The model's server does not answer: {error}. What it has written stays. Try again in a minute, or tell "
            "the server's operator."
        ) from error


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    loop.run_forever()
    loop.close()


def _close(loop: asyncio.AbstractEventLoop, talk: _Talk) -> None:
    """End the thread; what still waits in it is cancelled."""

    async def close() -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await talk.client.aclose()
        loop.stop()

    if loop.is_running():
        asyncio.run_coroutine_threadsafe(close(), loop)
