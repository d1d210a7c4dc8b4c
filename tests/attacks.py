"""What strangers do to a page, each as one coroutine that goes on until it is cancelled: for `tests.load --hostile`.
`python -m tests.attacks TARGET KIND NUMBER` is one of them in a process of its own, which takes none of the time of
whoever measures.

Owns the attacks that were seen to stop the page, and one of another shape for each kind. All of it is sent from one
loopback address to a page of one's own on another. What is sent is generated at the limits that the page states. Knows
neither what is measured meanwhile nor what should come of it.
"""

import asyncio
import json
import random
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cache
from itertools import count
from pathlib import Path

import httpx

RECORDED = (Path(__file__).resolve().parents[1] / "assets/recorded/starter.jsonl").read_text("utf-8")
WORDS = ("river", "teacher", "mountain", "computer", "garden", "city", "song", "winter", "doctor", "story")


@dataclass(frozen=True)
class Target:
    """Where the page is, who attacks it, and what its events are called."""

    host: str
    port: int
    address: str
    plotly: str
    events: dict[str, int]

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @asynccontextmanager
    async def client(self) -> AsyncIterator[httpx.AsyncClient]:
        limits = httpx.Limits(max_connections=400)
        transport = httpx.AsyncHTTPTransport(local_address=self.address, limits=limits)
        async with httpx.AsyncClient(base_url=self.url, transport=transport, timeout=600) as client:
            yield client

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self.host, self.port, local_addr=(self.address, 0))


Attack = Callable[[Target], Awaitable[None]]


def words(amount: int) -> str:
    return " ".join(random.choices(WORDS, k=amount))


@cache
def written(kind: str) -> bytes:
    """What is sent again and again, made once."""
    return {
        "top_k": lambda: altered(header={"top_k": 10**9}),
        "max_new_tokens": lambda: altered(header={"max_new_tokens": 10**9}, step={"entropy": 1e308}),
        "product": lambda: altered(step={"candidates": CANDIDATES, "log_sums": LOG_SUMS}),
        "empty lists": lambda: b'{"data": [' + b"[]," * 3_900_000 + b"[]]}",
    }[kind]()


def altered(*, header: dict[str, object] | None = None, step: dict[str, object] | None = None) -> bytes:
    """A recorded run with some of its first lines' values changed."""
    lines = [json.loads(line) for line in RECORDED.splitlines()]
    lines[0] |= header or {}
    lines[1] |= step or {}
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


async def together(times: int, one: Callable[[int], Awaitable[object]]) -> None:
    """So many at once, again and again; what the page answers is its own business."""

    async def again(number: int) -> None:
        while True:
            with suppress(httpx.HTTPError, OSError):
                await one(number)
            await asyncio.sleep(0.01)

    await asyncio.gather(*(again(number) for number in range(times)))


def posting(path: str, bodies: Callable[[int], bytes], times: int) -> Attack:
    async def attack(target: Target) -> None:
        async with target.client() as client:
            await together(times, lambda n: client.post(path, content=bodies(n), headers={"content-type": JSON}))

    return attack


def calling(endpoint: str, values: Callable[[int], list[object]], times: int, *, fetch: bool = True) -> Attack:
    """An endpoint asked, and its answer fetched, or not."""

    async def attack(target: Target) -> None:
        async with target.client() as client:

            async def one(number: int) -> None:
                asked = await client.post(f"/gradio_api/call/{endpoint}", json={"data": values(number)})
                if asked.is_success and fetch:
                    await client.get(f"/gradio_api/call/{endpoint}/{asked.json()['event_id']}")

            await together(times, one)

    return attack


def sending(pieces: Callable[[int], Iterator[bytes]], times: int, *, pause: float = 1.0, read: int = 0) -> Attack:
    """Bytes on connections of their own, a piece now and then, and of the answer no more than so much read."""

    async def attack(target: Target) -> None:
        async def one(number: int) -> None:
            reader, writer = await target.connect()
            try:
                for piece in pieces(number):
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(pause)
                    if reader.at_eof():
                        return
                if read:
                    await reader.read(read)
            finally:
                writer.close()

        await together(times, one)

    return attack


JSON = "application/json"
JOIN = (
    b"POST /gradio_api/queue/join HTTP/1.1\r\nhost: a\r\n"
    b"content-type: application/json\r\ncontent-length: 12000000\r\n\r\n"
)


def stalled(_: int) -> Iterator[bytes]:
    yield JOIN + b'{"data": ["' + b"x" * 11_500_000
    yield from (b"x" for _ in count())


def slow_head(_: int) -> Iterator[bytes]:
    yield b"GET / HTTP/1.1\r\nhost: a\r\n"
    yield from (b"x: y\r\n" for _ in count())


def requests(*heads: str) -> Callable[[int], Iterator[bytes]]:
    return lambda n: iter([heads[n % len(heads)].replace("\n", "\r\n").encode("latin-1")])


FORGED = (
    "GET / HTTP/1.1\nhost: a\nconnection: close\nx-forwarded-host: a:port\n\n",
    "GET / HTTP/1.0\norigin: http://a\n\n",
    "POST /gradio_api/call/check HTTP/1.0\norigin: http://a\ncontent-length: 2\n\n{}",
)
ODD = (
    "GET / HTTP/1.1\nhost: a:port\nconnection: close\n\n",
    "GET /config HTTP/1.1\nhost: a\nconnection: close\norigin: http://[\n\n",
    "GET / HTTP/1.1\nhost: a\nconnection: upgrade\nupgrade: websocket\n\n",
    "GET / HTTP/1.1\nhost: a\nx-gradio-server: http://a:port\nconnection: close\n\n",
    "BREW / HTCPCP/1.0\n\n",
)


async def plotly_unread(target: Target) -> None:
    """The largest file there is, asked for and left in the wire."""
    head = f"GET {target.plotly} HTTP/1.1\r\nhost: a\r\n\r\n".encode()
    await sending(lambda _: (piece for piece in (head, *[b""] * 60)), 100, read=1)(target)


async def streams(target: Target) -> None:
    """Heartbeats, each held open."""
    head = "GET /gradio_api/heartbeat/s{} HTTP/1.1\r\nhost: a\r\n\r\n"
    await sending(lambda n: (piece for piece in (head.format(n).encode(), *[b""] * 600)), 450)(target)


async def pages(target: Target) -> None:
    async with target.client() as client:
        await together(150, lambda n: client.get("/" if n % 2 else "/config"))


async def looks(target: Target) -> None:
    """The list of models, looked at again and again."""
    body = {"data": [], "fn_index": target.events["look"]}
    async with target.client() as client:
        await together(100, lambda n: client.post("/gradio_api/run/predict", json=body | {"session_hash": f"s{n}"}))


CANDIDATES = [{"token_id": n, "text": "a", "probability": 1e-6, "logprob": -13.8, "rank": n} for n in range(5_000)]
LOG_SUMS = [[1 + n / 1e6, 1.0] for n in range(40_000)]

ATTACKS: dict[str, tuple[Attack, Attack]] = {
    "numbers in a file": (
        posting("/keep/md", lambda n: written("top_k"), 2),
        posting("/keep/html", lambda n: written("max_new_tokens"), 4),
    ),
    "checks that cost": (
        posting("/keep/csv", lambda n: written("product"), 45),
        posting("/gradio_api/queue/join", lambda n: written("empty lists"), 4),
    ),
    "work that holds the model": (
        calling("beam_search", lambda n: [words(7_800), 8, 8, 5, "starter"], 4),
        calling("score", lambda n: [words(7_000), words(100), 5, "starter"], 4),
    ),
    "answers for nobody": (
        calling("export", lambda n: [RECORDED, "html-plotly"], 8, fetch=False),
        calling("greedy", lambda n: [words(3), 256, 50, "starter"], 8, fetch=False),
    ),
    "sessions": (
        calling("check", lambda n: ["rubbish"], 40, fetch=False),
        streams,
    ),
    "memory": (
        calling("beam_search", lambda n: [words(330), 60, 8, 5, "starter"], 24),
        calling("greedy", lambda n: [words(2_600), 30, 5, "starter"], 24),
    ),
    "connections": (
        sending(stalled, 60),
        sending(slow_head, 450),
    ),
    "headers": (
        sending(requests(*FORGED), 20, pause=0.05, read=1000),
        sending(requests(*ODD), 20, pause=0.05, read=1000),
    ),
    "what all share": (pages, looks),
    "bytes out": (
        plotly_unread,
        posting("/keep/html-plotly", lambda n: RECORDED.encode(), 30),
    ),
}


if __name__ == "__main__":
    where, kind, number = sys.argv[1:]
    asyncio.run(ATTACKS[kind][int(number)](Target(**json.loads(where))))  # type: ignore[arg-type]
