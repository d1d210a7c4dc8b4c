"""A server that goes in mid-run, and comes back: the run on screen stays, the page says so, and Run goes on."""

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

import torch
from playwright.sync_api import Browser, expect

import app as application
from tests.browser import served
from tests.fakes import ScriptedEngine

ROOM = 2**16


class Relay:
    """A wire to a server, which can be cut: what goes over it breaks off, and nobody is let in until it `is_up`.
    While it `holds`, nothing comes from the server, as behind a proxy that waits for the end of an answer.
    """

    def __init__(self, url: str) -> None:
        to = urlsplit(url)
        self.to, self.is_up = (to.hostname, to.port), True
        self.ends: list[socket.socket] = []
        self.holds = threading.Event()
        self.door = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.door.getsockname()[1]}/"
        threading.Thread(target=self._let_in, daemon=True).start()

    def cut(self) -> None:
        self.is_up = False
        for end in self.ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _let_in(self) -> None:
        with suppress(OSError):  # the door is closed
            while True:
                here, _ = self.door.accept()
                if not self.is_up:
                    here.close()
                    continue
                there = socket.create_connection(self.to)
                self.ends += [here, there]
                for one, other in ((here, there), (there, here)):
                    threading.Thread(target=self._pass, args=(one, other, one is there), daemon=True).start()

    def _pass(self, one: socket.socket, other: socket.socket, is_answer: bool) -> None:
        with suppress(OSError):
            while part := one.recv(ROOM):
                while is_answer and self.holds.is_set() and self.is_up:
                    threading.Event().wait(0.05)
                other.sendall(part)
        for end in (one, other):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextmanager
def wire(url: str) -> Iterator[Relay]:
    relay = Relay(url)
    try:
        yield relay
    finally:
        relay.cut()
        relay.door.close()
        for end in relay.ends:
            end.close()


class Held(ScriptedEngine):
    """Writes three tokens, and the next when it is let go."""

    def _forward(self, unread: Sequence[int], step: int | None) -> tuple[torch.Tensor, int]:
        if step == 3:
            self.let_go.wait(600)
        return super()._forward(unread, step)


def test_a_run_outlives_its_server_and_the_page_goes_on(browser: Browser) -> None:
    engine = Held()
    context = browser.new_context(locale="ko-KR")
    try:
        with (
            served(application.build_app(lambda name, report: engine, ["scripted"])) as url,
            wire(url) as relay,
        ):
            page = context.new_page()
            page.goto(relay.url)
            expect(page.locator(".gs-chip").first).to_be_visible()
            page.fill("#steps input", "6")
            page.click("#run")
            expect(page.locator(".gs-badge")).to_be_hidden()
            expect(page.locator(".gs-chip")).to_have_count(3)
            relay.cut()
            state = page.locator(".gs-state")
            expect(state).to_contain_text("3단계, 오류로 끝남 · 로그 확률")
            message = page.locator(".gs-message")  # a sentence has a line of its own
            expect(message).to_have_text("서버와 연결이 끊겼습니다. ‘실행’을 눌러 다시 해 보세요.")
            expect(page.locator("#run")).to_be_enabled()
            with page.expect_event("requestfailed", lambda request: "queue/join" in request.url):
                page.click("#run")
            notice = page.locator("#notice")  # of this run nothing has come that could end in a sentence
            expect(notice).to_contain_text("서버가 응답하지 않습니다.")
            expect(page.locator("#run")).to_be_enabled()
            expect(page.locator(".gs-chip")).to_have_count(3)
            page.click("#gs-tab-why")
            page.locator('[data-ask="why"]').click()
            expect(page.locator(".gs-why-ask .gs-word")).to_contain_text("서버가 응답하지 않습니다.")
            expect(page.get_by_text("Attempting reconnection")).to_have_count(0)
            engine.let_go.set()
            relay.is_up = True
            page.click("#run")
            expect(state).to_contain_text("6단계, 완료")
            expect(notice).not_to_contain_text("서버")
            page.click("#gs-tab-compare")
            for name in ("실행 2", "실행 3"):  # the run that was cut is still there
                expect(page.get_by_role("button", name=name, exact=True)).to_be_visible()
            page.close()
    finally:
        engine.let_go.set()
        context.close()
