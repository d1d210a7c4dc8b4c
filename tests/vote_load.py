"""`python -m tests.load --vote`: a class that votes behind one address, some of it in real Chromiums, while others run.

Prints each figure beside its aim. Run by hand on a machine that does nothing else. Each answer is sent at a moment of
its own within two seconds, as a class does; a phone that asks by HTTP asks as the page's own script does.
"""

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import httpx
from playwright.async_api import Page, async_playwright

from tests.browser import QUIET, chromium

if TYPE_CHECKING:
    from tests.load import Server

ROOT = Path(__file__).resolve().parents[1]
SCHOOL, OTHERS = "127.0.0.3", "127.0.0.4"
SPREAD_SECONDS = 2.0
LABELS = ["·only", "·most", "·best", "·popular", "·toy"]
OPTIONS = [
    {"text": label.replace("·", " "), "rank": rank, "probability": 2.0 ** -(rank + 1)}
    for rank, label in enumerate(LABELS)
]
# When the bars are there, in the clock that the teacher has too.
REVEALED = """() => new Promise((done) => {
    const look = () => { if (document.querySelector(".bars li")) { seen.disconnect(); done(Date.now() / 1000); } };
    const seen = new MutationObserver(look);
    seen.observe(document.body, { childList: true, subtree: true });
    look();
})"""


class Phone:
    """A student by HTTP. It waits for news, as the page does, and notes when a reveal came."""

    def __init__(self, http: httpx.AsyncClient, code: str, number: int) -> None:
        self._http, self._base = http, f"vote/{code}"
        self._headers = {"x-vote-id": f"{number:03}" * 8}
        self.revealed: dict[int, float] = {}

    async def listen(self) -> None:
        state = await self._ask("POST", "join", json={})
        while state.get("phase") != "ended" and "error" not in state:
            if state["phase"] == "revealed":
                self.revealed.setdefault(state["number"], time.time())
            state = await self._ask("GET", f"state?since={state['version']}")

    async def answer(self, number: int) -> float:
        """Answer, and return the seconds until the server had counted it."""
        begun = time.time()
        state = await self._ask("POST", "answer", json={"number": number, "place": random.randrange(len(LABELS))})
        assert state["answer"] is not None, state
        return time.time() - begun

    async def _ask(self, method: str, path: str, **said: Any) -> Any:
        answer = await self._http.request(method, f"{self._base}/{path}", headers=self._headers, **said)
        return answer.json()


class ChromiumPhone:
    """A student with a real page."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self.revealed: dict[int, float] = {}

    async def answer(self, number: int) -> float:
        """Press a candidate, and return the seconds until the page says that the answer has arrived."""
        buttons = self._page.locator(".labels button")
        await self._page.locator(".step h2", has_text=str(number + 1)).wait_for()
        begun = time.time()
        await buttons.nth(random.randrange(len(LABELS))).click()
        await self._page.locator(".status", has_text="Your answer").wait_for()
        return time.time() - begun

    async def listen_once(self, number: int) -> None:
        self.revealed[number] = await self._page.evaluate(REVEALED)


@asynccontextmanager
async def chromium_phones(url: str, count: int) -> AsyncIterator[list[ChromiumPhone]]:
    async with AsyncExitStack() as stack:
        playwright = await stack.enter_async_context(async_playwright())
        browser = await playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox", *QUIET])
        stack.push_async_callback(browser.close)
        phones = []
        for _ in range(count):
            context = await browser.new_context(viewport={"width": 390, "height": 844}, locale="en-US")
            page = await context.new_page()
            await page.goto(url)
            await page.locator(".status", has_text="You are in").wait_for()
            phones.append(ChromiumPhone(page))
        yield phones


class Teacher:
    def __init__(self, http: httpx.AsyncClient, opened: dict[str, str]) -> None:
        self._http, self.code = http, opened["code"]
        self._headers = {"x-vote-secret": opened["secret"]}

    async def ask(self, path: str, said: object = None) -> Any:
        method = "GET" if said is None else "POST"
        answer = await self._http.request(method, f"vote/{self.code}/{path}", headers=self._headers, json=said)
        return answer.json()

    async def open_step(self, number: int) -> None:
        text = "Transformers are the most popular model " * 20
        await self.ask("ask", {"number": number, "step": number + 1, "text": text, "labels": LABELS})

    async def reveal(self, number: int) -> tuple[float, int]:
        """When the teacher pressed, and how many answers were counted."""
        begun = time.time()
        told = await self.ask("reveal", {"number": number, "options": OPTIONS, "picked": 1, "beyond": 0.01})
        return begun, told["result"]["score"]["answers"]


async def vote(server: "Server", by_http: int, real: int, steps: int, runs: int) -> bool:
    """A class of `by_http` and `real` phones over some steps, beside `runs` visitors. Whether every aim was reached."""
    from tests.load import say

    transport = httpx.AsyncHTTPTransport(local_address=SCHOOL, limits=server.limits)
    async with httpx.AsyncClient(base_url=server.url, timeout=60, transport=transport) as http:
        await _play(server, http, by_http, real, 5, runs)  # so that everything is warm
        threads, memory = await _settle(server), server.own_memory()
        counted, revealed, lost = await _play(server, http, by_http, real, steps, runs)
        more, grown = await _settle(server) - threads, (server.own_memory() - memory) / 2**20
    print(f"a vote: {by_http} students by HTTP, {real} in Chromium, {steps} steps, {runs} runs beside")
    times = {
        (what, who): [
            seconds for place, seconds in enumerate(all_of_them) if (place % (by_http + real) < by_http) == own
        ]
        for what, all_of_them in (("an answer is counted", counted), ("a reveal is on a phone", revealed))
        for who, own in (("by HTTP", True), ("in Chromium", False))
    }
    aims = {"an answer is counted": 0.5, "a reveal is on a phone": 1.0}
    return all(
        [
            *(
                say(f"{what}, {who}", _told(seconds, aims[what]), f"{aims[what]} s", max(seconds) <= aims[what])
                for (what, who), seconds in times.items()
            ),
            say("lost answers", f"{lost} of {steps * (by_http + real)}", "0", lost == 0),
            say("memory of its own", f"{grown:+.0f} MB", "under 50 MB", grown < 50),
            say("threads", f"{more:+}", "no more", more <= 0),
        ]
    )


def _told(seconds: list[float], aim: float) -> str:
    above = sum(each > aim for each in seconds)
    return f"median {median(seconds):.3f} s, slowest {max(seconds):.3f}, above the aim {above} of {len(seconds)}"


async def _settle(server: "Server") -> int:
    """The server's threads once nobody is there: the fewest, since Gradio lets go of one that was idle for 10 s when
    the next one is asked for.
    """
    seen = []
    for _ in range(3):
        await asyncio.sleep(11)
        async with server.client(OTHERS) as client:
            await server.visit(client, "Who comes last", 3)
        seen.append(server.threads())
    return min(seen)


async def _play(
    server: "Server", http: httpx.AsyncClient, by_http: int, real: int, steps: int, runs: int
) -> tuple[list[float], list[float], int]:
    """The seconds of each answer and of each phone's reveal, and the number of answers that were lost."""
    teacher = Teacher(http, (await http.post("vote/open", json={})).json())
    phones = [Phone(http, teacher.code, number) for number in range(by_http)]
    listening = [asyncio.create_task(phone.listen()) for phone in phones]
    counted: list[float] = []
    revealed: list[float] = []
    lost = 0
    phones_of = chromium_phones(f"{server.url}vote/{teacher.code}", real)
    async with _others(server, runs), phones_of as real_phones:
        everybody: list[Phone | ChromiumPhone] = [*phones, *real_phones]
        for number in range(steps):
            await teacher.open_step(number)
            counted += await asyncio.gather(*(_answer_sometime(phone, number) for phone in everybody))
            watching = [asyncio.create_task(phone.listen_once(number)) for phone in real_phones]
            begun, answers = await teacher.reveal(number)
            await asyncio.gather(*watching)
            while not all(number in phone.revealed for phone in phones):
                await asyncio.sleep(0.005)
            revealed += [phone.revealed[number] - begun for phone in everybody]
            lost += len(everybody) - answers
        await teacher.ask("end", {})
        await asyncio.gather(*listening)
    return counted, revealed, lost


async def _answer_sometime(phone: Phone | ChromiumPhone, number: int) -> float:
    await asyncio.sleep(random.random() * SPREAD_SECONDS)
    return await phone.answer(number)


@asynccontextmanager
async def _others(server: "Server", runs: int) -> AsyncIterator[None]:
    """Visitors beside the class, in a process of their own, since reading ten streams would hold up the phones here."""
    command = [sys.executable, "-m", "tests.vote_load", server.url, str(server.pid), str(runs)]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, cwd=ROOT)
    assert process.stdout is not None
    await process.stdout.readline()
    try:
        yield
    finally:
        process.terminate()
        await process.wait()


async def _run_on(url: str, pid: int, runs: int) -> None:
    """Each visitor runs one prompt after another."""
    from tests.load import Server

    server = Server(url, pid)

    async def visitor(number: int) -> None:
        async with server.client(OTHERS) as client:
            for count in range(10_000):
                await server.visit(client, f"The story number {number} {count} is", 24)

    print("running", flush=True)
    await asyncio.gather(*map(visitor, range(runs)))


if __name__ == "__main__":
    asyncio.run(_run_on(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
