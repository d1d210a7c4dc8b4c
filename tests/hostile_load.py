"""`python -m tests.load --hostile`: one visitor's run while a stranger attacks, and minutes of mixed use with attacks.

Prints each figure beside its aim. Everything is on this machine's loopback addresses, which stand for several visitors.
Run by hand on a machine that does nothing else; the tests rehearse it.
"""

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import httpx

from tests.attacks import ATTACKS, Target, words
from tests.page.http.strangers import script_address

if TYPE_CHECKING:
    from tests.load import Server, Visit

ROOT = Path(__file__).resolve().parents[1]
MEMORY = "1.5GB"
MEMORY_BYTES = 1_500_000_000
VICTIM, STRANGER = "127.0.0.2", "127.0.0.9"
STEPS = 8


@dataclass
class Seen:
    """The worst that a visitor and the server's process came to."""

    page: float = 0.0
    first_bar: float = 0.0
    end: float = 0.0
    errors: list[str] = field(default_factory=list)
    memory: int = 0


def target_of(server: "Server") -> Target:
    url = httpx.URL(server.url)
    config = httpx.get(f"{server.url}config", timeout=60).json()["dependencies"]
    look = next(d["id"] for d in config if d["backend_fn"] and not d["queue"] and len(d["outputs"]) == 1)
    return Target(
        url.host, url.port or 80, STRANGER, script_address(httpx.get(server.url, timeout=60).text), {"look": look}
    )


async def hostile(server: "Server", *, seconds: float, only: str) -> bool:
    """Each attack in turn, and a visitor beside it. Returns whether every aim was reached."""
    chosen = {name: pair for name, pair in ATTACKS.items() if not only or name in only.split(",")}
    reached = True
    async with server.client(VICTIM) as client:
        await server.visit(client, "Hello", 3)
    for name, attacks in chosen.items():
        for number, which in enumerate(("as it was seen", "another of its kind")[: len(attacks)]):
            reached &= await beside(server, f"{name}, {which}", (name, number), seconds)
            if not server.is_alive():
                return False
    return reached


async def beside(server: "Server", name: str, attack: tuple[str, int], seconds: float) -> bool:
    from tests.load import say

    lines = server.log_lines()
    seen = Seen()
    async with under(attack, target_of(server)), sampled(server, seen):
        await asyncio.sleep(2 + seconds / 2)  # until it has begun
        end = time.monotonic() + seconds
        while True:
            await one_visit(server, seen)
            if time.monotonic() > end or not server.is_alive():
                break
    await asyncio.sleep(2)
    alive = server.is_alive()
    faults = [line for line in server.log_lines()[len(lines) :] if not line.startswith("{")]
    print(name, flush=True)
    held = [
        say("the page", f"{seen.page:.2f} s", "1 s", seen.page <= 1),
        say("first bar", f"{seen.first_bar:.2f} s", "3 s", seen.first_bar <= 3),
        say("end of 8 steps", f"{seen.end:.2f} s", "6 s", seen.end <= 6),
        say("errors", "; ".join(seen.errors)[:200] or "none", "none", not seen.errors),
        say("alive", "yes" if alive else "NO", "yes", alive),
        say(
            "memory of its own at most",
            f"{seen.memory / 1e6:,.0f} MB",
            f"{MEMORY_BYTES / 1e6:,.0f} MB",
            seen.memory <= MEMORY_BYTES,
        ),
        say("in the log beside its lines", "; ".join(faults)[:200] or "nothing", "nothing", not faults),
    ]
    return all(held)


async def one_visit(server: "Server", seen: Seen) -> None:
    """What a visitor with a browser of their own does: open the page, press Run."""
    async with server.client(VICTIM) as client:
        begun = time.perf_counter()
        try:
            await client.get(server.url)
        except httpx.HTTPError as error:
            seen.errors.append(repr(error))
        seen.page = max(seen.page, time.perf_counter() - begun)
        visit: Visit | None = None
        begun = time.perf_counter()
        with suppress(httpx.HTTPError, TimeoutError):
            async with asyncio.timeout(120):
                visit = await server.visit(client, f"The {words(3)}", STEPS)
        if visit is None or visit.error or visit.steps != STEPS:
            seen.errors.append(visit.error or f"{visit.steps} steps" if visit else "no answer")
        seen.first_bar = max(seen.first_bar, min(visit.first_bar, 120) if visit else 120)
        seen.end = max(seen.end, time.perf_counter() - begun)


@asynccontextmanager
async def under(attack: tuple[str, int], target: Target) -> AsyncIterator[None]:
    kind, number = attack
    command = [sys.executable, "-m", "tests.attacks", target.to_json(), kind, str(number)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()


@asynccontextmanager
async def sampled(server: "Server", seen: Seen) -> AsyncIterator[None]:
    async def sample() -> None:
        while server.is_alive():
            seen.memory = max(seen.memory, server.own_memory())
            await asyncio.sleep(0.05)

    task = asyncio.create_task(sample())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def mixed(server: "Server", minutes: float) -> bool:
    """Visitors who write runs, each held against the library's own, with an attack beside them at any time."""
    import decoding
    from tests.load import say

    model = decoding.load("starter", device="cpu")
    told: dict[str, str] = {}
    wrong, done, memory = [], 0, []
    end = 0.0

    async def visitor(number: int) -> None:
        nonlocal done
        while time.monotonic() < end:
            prompt = f"The {words(2)}"
            async with server.client(f"127.0.0.{20 + number}") as client:
                visit = await server.visit(client, prompt, random.randint(1, STEPS))
            done += 1
            if visit.error or visit.steps < 1:
                wrong.append(visit.error or "no steps")
            else:
                told[visit.text] = prompt
            await asyncio.sleep(random.random() * 3)

    async def strangers() -> None:
        kinds = [(kind, number) for kind, pair in ATTACKS.items() for number in range(len(pair))]
        while time.monotonic() < end:
            async with under(random.choice(kinds), target_of(server)):
                await asyncio.sleep(10)

    async def sample() -> None:
        while time.monotonic() < end:
            memory.append((time.monotonic(), server.own_memory(), server.threads(), server.descriptors()))
            await asyncio.sleep(1)

    before = await server.idle_threads(), server.descriptors()
    end = time.monotonic() + 60 * minutes
    begun = time.monotonic()
    await asyncio.gather(strangers(), sample(), *(visitor(n) for n in range(6)))
    after = await server.idle_threads(), server.descriptors()  # by then the server has dropped unfetched answers
    for text, prompt in told.items():
        theirs = decoding.Trace.from_jsonl(text)
        ours = decoding.trace(model, prompt, max_new_tokens=theirs.max_new_tokens, top_k=theirs.top_k)
        if ours.generated_token_ids != theirs.generated_token_ids:
            wrong.append(f"{prompt!r} was written otherwise")
    settled = [size for at, size, *_ in memory if at - begun > min(240, 30 * minutes)]
    first, last = settled[: len(settled) // 2], settled[len(settled) // 2 :]
    grown = (median(last) - median(first)) / 1e6  # of the level: a single attack on memory is under the line above
    peak = max(size for _, size, *_ in memory)
    print(f"mixed use for {minutes} minutes: {done} runs, {len(told)} of them compared")
    held = [
        say("wrong answers", "; ".join(wrong)[:200] or "none", "none", not wrong),
        say("memory of its own at most", f"{peak / 1e6:,.0f} MB", MEMORY, peak <= MEMORY_BYTES),
        say("memory after four minutes", f"{grown:+.0f} MB in its level", "flat: under 50 MB", grown < 50),
        say("threads", f"{before[0]} before, {after[0]} after", "3 more at most", after[0] <= before[0] + 3),
        say("descriptors", f"{before[1]} before, {after[1]} after", "10 more at most", after[1] <= before[1] + 10),
    ]
    return all(held)
