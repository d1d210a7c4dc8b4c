"""`python -m tests.load`: the real page with the real starter model under a class, a crowd, and people who leave.

Prints each figure beside its aim. Run by hand on a machine that does nothing else; `--small` is what the tests run.
`--hostile` and `--vote` are other measurements, see `tests.hostile_load` and `tests.vote_load`.
Speaks Gradio's own protocol, as the page and `gradio_client` do: a POST to join, and one stream of events.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import httpx
from gradio_client.utils import apply_diff  # type: ignore[import-untyped]

from decoding.messages import from_json
from tests import hostile_load, vote_load

ROOT = Path(__file__).resolve().parents[1]
READY = "Greedyscope is at "
TOPICS = ("river", "teacher", "mountain", "computer", "garden", "city", "song", "winter", "doctor", "story")
VERBS = ("is a", "was the", "has no")


@dataclass
class Visit:
    """What a visitor saw: the seconds at which a step came or other words, and the last of each."""

    moves: list[float] = field(default_factory=list)
    text: str = ""
    words: str = ""
    value: Any = None
    first_bar: float = float("inf")
    error: str = ""

    @property
    def steps(self) -> int:
        return self.text.count("\n") - 2

    @property
    def longest_wait(self) -> float:
        return max((b - a for a, b in zip([0.0, *self.moves], self.moves, strict=False)), default=float("inf"))


class Server:
    """The app in a process of its own."""

    def __init__(self, url: str, pid: int, log: Path | None = None) -> None:
        self.url, self.pid, self._log = url, pid, log
        config = httpx.get(f"{url}config", timeout=60).json()
        # What the page's own Run asks: the answer has the words for people as well.
        self.run = next(d["id"] for d in config["dependencies"] if d["backend_fn"] and len(d["inputs"]) == 6)
        self.limits = httpx.Limits(max_connections=1000)

    def client(self, address: str = "127.0.0.1") -> httpx.AsyncClient:
        transport = httpx.AsyncHTTPTransport(local_address=address, limits=self.limits)
        return httpx.AsyncClient(base_url=f"{self.url}gradio_api/", timeout=300, transport=transport)

    async def visit(self, client: httpx.AsyncClient, prompt: str, steps: int, *, leave_after: float = 1e9) -> Visit:
        """A run from Run to its last line, or until the visitor leaves, which cuts the connection."""
        visit, begun, session = Visit(), perf_counter(), uuid.uuid4().hex
        with suppress(TimeoutError):
            async with asyncio.timeout(leave_after):
                data = {
                    "data": [prompt, steps, 5, "starter", False, False],
                    "fn_index": self.run,
                    "session_hash": session,
                }
                joined = await client.post("queue/join", json=data)
                if joined.is_error:
                    visit.error = joined.text
                    return visit
                async with client.stream("GET", "queue/data", params={"session_hash": session}) as stream:
                    async for line in stream.aiter_lines():
                        if line.startswith("data:") and self._see(visit, json.loads(line[5:]), perf_counter() - begun):
                            return visit
        return visit

    @staticmethod
    def _see(visit: Visit, message: dict[str, Any], now: float) -> bool:
        """Whether that was the last message."""
        if message["msg"] in ("process_generating", "process_completed"):
            output = message.get("output") or {}
            if message["msg"] == "process_completed" and not message.get("success"):
                visit.error = str(output.get("error"))
            if data := output.get("data"):
                before = visit.text, visit.words
                # The first value is whole, as the last is; Gradio sends how those between differ.
                first = visit.value is None or message["msg"] == "process_completed"
                visit.value = data[0] if first else apply_diff(visit.value, data[0])
                Server._read(visit)
                if before != (visit.text, visit.words):
                    visit.moves.append(now)
            if visit.text.count("\n") >= 2:
                visit.first_bar = min(visit.first_bar, now)
        return message["msg"] == "process_completed"

    @staticmethod
    def _read(visit: Visit) -> None:
        """A run so far, or words beside it: a place in line, a problem."""
        if isinstance(visit.value, str):
            again = visit.text.rfind("\n", 0, -1) + 1  # the last line stands before the new ones once more
            visit.text = visit.text[:again] + visit.value if visit.value.startswith(visit.text[again:]) else visit.value
        elif isinstance(visit.value, dict):
            words = json.loads(visit.value.get("props", {}).get("words", "{}"))  # none where only the line is held open
            visit.words = from_json(words.get("notice", visit.words))
            visit.error = visit.error or next(
                (from_json(word) for key, word in words.items() if key.startswith("problem") and word), ""
            )

    def memory(self) -> int:
        """Resident bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) * 1024

    def own_memory(self) -> int:
        """Resident bytes that are the process's alone: files that it has mapped the system can take back."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return sum(int(status.split(name)[1].split()[0]) * 1024 for name in ("RssAnon:", "RssShmem:"))

    def is_alive(self) -> bool:
        status = Path(f"/proc/{self.pid}/stat")
        return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"

    def log_lines(self) -> list[str]:
        return self._log.read_text("utf-8", "replace").splitlines() if self._log else []

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    async def idle_threads(self) -> int:
        """The threads once nobody is there: the fewest, since a visit takes one or three as it happens."""
        await asyncio.sleep(70)  # the crowd's float32 weights are kept for 60 seconds, and have threads of their own
        seen = []
        for _ in range(3):
            await asyncio.sleep(11)  # a thread that was idle for 10 ends when Gradio asks for the next one
            async with self.client() as client:
                await self.visit(client, "Who comes last", 3)
            seen.append(self.threads())
        return min(seen)

    def threads(self) -> int:
        return int(Path(f"/proc/{self.pid}/status").read_text().split("Threads:")[1].split()[0])


@contextmanager
def served(temporary: str, *options: str) -> Iterator[Server]:
    command = [sys.executable, str(ROOT / "app.py"), "--model=starter", "--device=cpu", "--host=127.0.0.1", "--port=0"]
    environment, log = os.environ | {"GRADIO_TEMP_DIR": temporary}, Path(temporary) / "log"
    with (
        log.open("w") as said,
        subprocess.Popen(
            [*command, *options], cwd=ROOT, stdout=subprocess.PIPE, stderr=said, text=True, env=environment
        ) as process,
    ):
        try:
            line = next(line for line in process.stdout or () if line.startswith(READY))
            yield Server(line.removeprefix(READY).strip(), process.pid, log)
        finally:
            process.terminate()


def say(what: str, measured: str, aim: str, holds: bool) -> bool:
    print(f"{'ok  ' if holds else 'MISS'} {what}: {measured} (aim: {aim})", flush=True)
    return holds


def prompts(count: int, salt: str = "") -> list[str]:
    return [f"The {TOPICS[n % 10]} {VERBS[n // 10 % 3]}{salt}{' very' * (n // 30)}" for n in range(count)]


async def a_class(server: Server, visitors: int, steps: int) -> None:
    async with server.client() as client:
        await server.visit(client, "Hello", 3)
        alone = []
        for prompt in prompts(min(6, visitors), " quite"):
            begun = perf_counter()
            await server.visit(client, prompt, steps)
            alone.append(perf_counter() - begun)
        one_after_another = sum(alone) / len(alone) * visitors
        begun = perf_counter()
        visits = await asyncio.gather(*(server.visit(client, prompt, steps) for prompt in prompts(visitors)))
        together = perf_counter() - begun
    print(f"a class: {visitors} visitors, {steps} steps each")
    errors = sum(bool(v.error) or v.steps < 1 for v in visits)
    say("errors", str(errors), "0", not errors)
    share = together / one_after_another
    told = f"{together:.1f} s, one after another {one_after_another:.1f} s ({len(alone)} measured): {share:.2f}"
    say("time for all", told, "at most 0.25", share <= 0.25)
    longest = max(v.longest_wait for v in visits)
    say("longest without movement", f"{longest:.2f} s", "2 s", longest <= 2)
    ends = [v.moves[-1] for v in visits]
    say("slowest over median", f"{max(ends) / median(ends):.2f}", "at most 1.5", max(ends) <= 1.5 * median(ends))
    print(f"     first bar: median {median(v.first_bar for v in visits):.2f} s; alone {median(alone):.2f} s a run")


async def overload(server: Server, places: int) -> None:
    async with server.client() as client:
        counting = (", ".join(map(str, range(first, first + 12))) + "," for first in range(places))  # goes on for long
        crowd = [asyncio.create_task(server.visit(client, prompt, 256)) for prompt in counting]
        await asyncio.sleep(4)
        held = sum(not task.done() for task in crowd)
        refused = []
        for prompt in prompts(10, " too"):
            begun = perf_counter()
            visit = await server.visit(client, prompt, 2)
            refused.append((perf_counter() - begun, visit.words))
        for task in crowd:
            task.cancel()
        await asyncio.gather(*crowd, return_exceptions=True)
        begun = perf_counter()
        while not (after := await server.visit(client, "After the wave", 2)).text:
            await asyncio.sleep(0.05)
        waited = perf_counter() - begun
    print(f"overload: {places} visitors come, as many as there are places")
    say("places held", f"{held} of {places}", "all", held == places)
    sentences = sum("The server is full" in words for _, words in refused)
    say("refused with a sentence", f"{sentences} of {len(refused)}", "all", sentences == len(refused))
    slowest, middle = max(s for s, _ in refused), median(s for s, _ in refused)
    say("until the sentence", f"median {middle * 1000:.0f} ms, slowest {slowest * 1000:.0f}", "200 ms", slowest <= 0.2)
    say("the next after the wave", f"{waited:.2f} s, {after.steps} steps", "at once: 2 s", waited <= 2)


async def who_leave(server: Server, visitors: int) -> None:
    async with server.client() as client:
        leaving = (server.visit(client, prompt, 64, leave_after=0.5) for prompt in prompts(visitors, " soon"))
        await asyncio.gather(*leaving, return_exceptions=True)
        begun, visit = perf_counter(), Visit()
        while not visit.text:
            visit = await server.visit(client, "Who comes next", 3)
        first = perf_counter() - begun
    print(f"leaving: {visitors} press Run and leave after half a second")
    say("first bar of the next one", f"{first:.2f} s at most", "5 s", first <= 5)


async def nothing_grows(server: Server, runs: int, aborted: int, temporary: str) -> None:
    async def some(count: int, salt: str, **leave: float) -> None:
        async with server.client() as client:
            for first in range(0, count, 25):
                few = prompts(count, salt)[first : first + 25]
                await asyncio.gather(*(server.visit(client, p, 4, **leave) for p in few), return_exceptions=True)

    await some(min(runs, 200), " warm")  # what is kept of runs has its bounds, and is full now
    threads = await server.idle_threads()
    memory, files = server.memory(), sum(1 for _ in Path(temporary).rglob("*"))
    await some(runs, " more")
    await some(aborted, " left", leave_after=0.3)
    threads_after = await server.idle_threads()
    grown = (server.memory() - memory) / 2**20
    print(f"nothing grows: {runs} runs, {aborted} aborted")
    say("resident memory", f"{grown:+.0f} MB", "under 50 MB", grown < 50)
    say("threads", f"{threads} before, {threads_after} after", "no more", threads_after <= threads)
    left = sum(1 for _ in Path(temporary).rglob("*"))
    say("temporary files", f"{files} before, {left} after", "no more", left <= files)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="a few visitors only")
    parser.add_argument("--hostile", action="store_true", help="attacks beside a visitor, instead")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long each attack goes on")
    parser.add_argument("--only", default="", help="names of attacks, separated by commas")
    parser.add_argument("--minutes", type=float, default=0.0, help="with --hostile: so much mixed use with attacks")
    parser.add_argument("--vote", action="store_true", help="a class of 35 votes while others run, instead")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        if chosen.hostile:
            with served(temporary, f"--memory={hostile_load.MEMORY}") as server:
                if chosen.minutes:
                    await hostile_load.mixed(server, chosen.minutes)
                else:
                    await hostile_load.hostile(server, seconds=chosen.seconds, only=chosen.only)
            return
        if chosen.vote:
            with served(temporary) as server:
                await vote_load.vote(server, *((6, 2, 3, 2) if chosen.small else (30, 5, 20, 10)))
            return
        with served(temporary) as server:
            await friendly(server, chosen.small, temporary)


async def friendly(server: Server, small: bool, temporary: str) -> None:
    if not small:
        await overload(server, 96)  # first: a server that has just begun is at its slowest
    await a_class(server, 4 if small else 30, 4 if small else 24)
    await who_leave(server, 10 if small else 200)
    await nothing_grows(server, 10 if small else 500, 5 if small else 100, temporary)


if __name__ == "__main__":
    asyncio.run(main())
