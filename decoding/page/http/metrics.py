"""Metrics and health checks: `/healthz`, `/readyz`, `/metrics` if switched on, and a log line per run.

Owns the counters and the routes. Nothing here contains a visitor's text, address or session.
"""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from math import inf
from time import monotonic
from typing import Any

from anyio import to_thread
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from decoding import assets
from decoding.errors import BusyError, FormatError, ModelError, RequestError
from decoding.messages import Message
from decoding.record.field_values import read_object
from decoding.record.fields import read_end
from decoding.serving.admission import AdmissionQueue, Visitor
from decoding.serving.model_registry import ModelRegistry
from decoding.serving.stream import stream_updates

SERVED_SECONDS = 1.0
"""A server that cannot serve its page within this time is not ready."""
_ENDED = ("run.long", "line.ended")
"""The messages of a run that this server ended."""
_BUCKETS = (0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60)


class Health:
    """The counters of one page, which is ready if it can be served within `served_seconds`."""

    def __init__(
        self, registry: ModelRegistry, queue: AdmissionQueue, *, served_seconds: float = SERVED_SECONDS
    ) -> None:
        self.queue, self._served_seconds = queue, served_seconds
        self._model_registry = registry
        self.registry = CollectorRegistry()  # its own, so that two pages in a process do not collide
        names: Any = {"namespace": "greedyscope", "registry": self.registry}
        self._runs = Counter("runs", "Requests for the model that have ended, by how.", ["outcome"], **names)
        self._steps = Counter("steps", "Steps sent to visitors.", **names)
        self._first_bar = Histogram("first_bar_seconds", "From request to first step.", buckets=_BUCKETS, **names)
        Gauge("running", "Visitors being served.", **names).set_function(lambda: queue.served)
        Gauge("waiting", "Visitors in the admission queue.", **names).set_function(lambda: queue.waiting)
        Gauge("reused", "Times that a run took steps from an earlier one.", **names).set_function(self._reused)

    def stream(
        self,
        work: Callable[[], Generator[Any, None, None]],
        *,
        notice: Callable[[str], Any],
        heartbeat: Callable[[], Any],
        visitor: Visitor,
        is_connected: Callable[[], bool] = lambda: True,
        is_listening: Callable[[], bool] = lambda: True,
        explains_wait: Callable[[Any], bool] = lambda update: False,
        is_long: bool = False,
    ) -> AsyncGenerator[Any, None]:
        """See `decoding.serving.stream.stream_updates`; counts the updates."""
        updates = stream_updates(
            self.queue,
            work,
            notice=notice,
            heartbeat=heartbeat,
            visitor=visitor,
            is_connected=is_connected,
            is_listening=is_listening,
            explains_wait=explains_wait,
            is_long=is_long,
        )
        return self._watch(updates, is_connected)

    async def _watch(
        self, updates: AsyncGenerator[Any, None], is_connected: Callable[[], bool]
    ) -> AsyncGenerator[Any, None]:
        """The same updates, counted. Text updates are the JSON Lines of a run so far."""
        begun, first, steps, outcome, cause = monotonic(), None, 0, "left", ""
        text = run = ""
        try:
            async with aclosing(updates):
                async for update in updates:
                    if isinstance(update, str):
                        if text and update != text:  # a visitor's own file comes whole, a run of this server grows
                            run = update
                        text = update
                        steps = update.count('\n{"index":')
                        if steps and first is None:
                            first = monotonic() - begun
                            self._first_bar.observe(first)
                    yield update
            cause = _error_in_last_line(run)
            outcome = "error" if cause else "done" if is_connected() else "left"
        except (asyncio.CancelledError, GeneratorExit):
            outcome = "stopped" if is_connected() else "left"
            raise
        except (BusyError, RequestError, FormatError) as error:
            # Only the code: the sentence may quote what the visitor wrote.
            cause = error.message.code if isinstance(error.message, Message) else type(error).__name__
            outcome = "ended" if cause in _ENDED else "refused"
            raise
        except Exception as error:
            outcome = "error"
            cause = _without_quotes(str(error)) if isinstance(error, ModelError) else type(error).__name__
            raise
        finally:
            self._runs.labels(outcome).inc()
            self._steps.inc(steps)
            numbers: dict[str, Any] = {
                "outcome": outcome,
                "steps": steps,
                "seconds": round(monotonic() - begun, 3),
                "first_bar": None if first is None else round(first, 3),
            }
            numbers |= {"cause": cause} if cause else {}
            logging.getLogger(__name__).info("run", extra={"numbers": numbers})

    def routes(self, *, metrics: bool) -> list[BaseRoute]:
        routes: list[BaseRoute] = [Route("/healthz", self._alive), Route("/readyz", self._ready)]
        return [*routes, Route("/metrics", self._metrics)] if metrics else routes

    def _reused(self) -> float:
        return float(
            sum(getattr(getattr(engine, "worker", None), "reused", 0) for engine in self._model_registry.loaded())
        )

    async def _alive(self, _: Request) -> Response:
        return PlainTextResponse("alive\n")

    async def _ready(self, _: Request) -> Response:
        if not self._model_registry.loaded():
            return PlainTextResponse("No model is loaded yet.\n", 503)
        if self.queue.ends_at < inf:
            return PlainTextResponse("The server is being restarted.\n", 503)
        try:
            async with asyncio.timeout(self._served_seconds):  # in one of the threads that serve the page and its files
                await to_thread.run_sync(lambda: None)
        except TimeoutError:
            return PlainTextResponse("No thread is free to serve the page.\n", 503)
        return PlainTextResponse("ready\n")

    async def _metrics(self, _: Request) -> Response:
        return PlainTextResponse(generate_latest(self.registry).decode())


def _error_in_last_line(lines: str) -> str:
    """The message of a run that an error ended, without quotes; "" for any other text."""
    with suppress(ValueError):
        last = read_end(read_object(json.loads(lines.rstrip().rpartition("\n")[2])))
        return _without_quotes(last["message"]) if last["stop_reason"] == "error" else ""
    return ""


def _without_quotes(sentence: str) -> str:
    """An error's sentence without what a chat template, a server or a library said: it may repeat a visitor's text."""
    for text in assets.texts()["en"].values():
        before, _, after = text.partition("{quote}")
        mark = before.rpartition("}")[2]
        if before != text and len(mark) > len(": "):
            start, found, quote = sentence.partition(mark)
            if found and quote.endswith(after):
                return f"{start}{mark}…{after}"
    return sentence


class JsonLines(logging.Formatter):
    """A log record as one line of JSON, with a run's numbers if it has some."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"time": time, "level": record.levelname, "what": record.getMessage()}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line | getattr(record, "numbers", {}))


def log_lines() -> None:
    """Write this project's log as one line of JSON per record."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    log = logging.getLogger("decoding")
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
