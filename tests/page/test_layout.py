"""One screen: after Run, text, ten bars with everything else, and the scrubber are seen together."""

import json
import threading
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import expect

import app as application
import decoding
from decoding import assets
from tests.browser import Visit, frames_later, served
from tests.fakes import ScriptedEngine
from tests.page.one_screen import assert_seen_together, assert_seen_together_everywhere, run

HELD = 20


class HeldEngine(ScriptedEngine):
    """Goes no further than `HELD` steps while the gate is shut."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()

    def _forward(self, unread: Sequence[int], step: int | None) -> tuple[NDArray[np.float32], int]:
        if step and step >= HELD:
            self.gate.wait(120)
        return super()._forward(unread, step)


@pytest.fixture(scope="module")
def engine() -> HeldEngine:
    return HeldEngine()


@pytest.fixture(scope="module")
def url(engine: HeldEngine) -> Iterator[str]:
    with served(application.build_app(lambda name, report: engine, ["scripted"])) as address:
        yield address


@pytest.mark.parametrize("locale", ["en-US", "ko-KR"])
def test_text_bars_and_scrubber_are_seen_together(url: str, visit: Visit, engine: HeldEngine, locale: str) -> None:
    page = visit(url, width=1280, height=720, locale=locale)
    page.fill("#steps input", "30")
    page.fill("#choices input", "10")
    engine.gate.clear()
    try:
        page.click("#run")
        expect(page.locator(".gs-chip")).to_have_count(HELD)
        assert_seen_together_everywhere(page, "while it grows")
    finally:
        engine.gate.set()
    expect(page.locator(".gs-chip")).to_have_count(30)
    expect(page.locator("#run")).to_be_enabled()
    assert_seen_together_everywhere(page, "ended")
    tabs = page.locator("[role=tablist]").bounding_box()
    assert tabs
    assert tabs["y"] + tabs["height"] <= 720, "what else there is shows at its names"
    page.locator(".gs-strip").press("c")
    expect(page.locator("html")).to_have_class("classroom")
    page.locator(".gs-strip").press("c")

    page.fill("#steps input", "999")
    page.click("#run")
    expect(page.locator("#problem-steps p")).not_to_be_empty()
    assert_seen_together_everywhere(page, "after an error")

    page.fill("#steps input", "30")
    page.click("#gs-tab-whatif")
    page.click('[data-ask="beam"]')
    expect(page.locator(".gs-tree-beams .gs-node").first).to_be_attached()
    expect(page.locator("#run")).to_be_enabled()
    assert_seen_together_everywhere(page, "after a beam search")

    greedy = decoding.trace(ScriptedEngine(), "cut off", max_new_tokens=30, top_k=10)
    *lines, _ = greedy.to_jsonl().splitlines()
    end = json.dumps({"stop_reason": "error", "message": "Something went wrong on the way to the next token. " * 12})
    page.click("#gs-tab-keep")
    file = {"name": "cut.jsonl", "mimeType": "application/jsonl", "buffer": "\n".join([*lines, end, ""]).encode()}
    page.set_input_files("#gs-page-keep input[type=file]", file)
    expect(page.locator(".gs-message")).to_be_visible()
    assert_seen_together_everywhere(page, "after a long end message")


@pytest.mark.parametrize("locale", ["en-US", "ko-KR"])
def test_the_first_screen_says_what_the_page_is_for(url: str, visit: Visit, locale: str) -> None:
    page = visit(url, height=720, locale=locale)
    note = page.locator(".gs-note")
    expect(note).to_contain_text(assets.texts()[locale[:2]]["page.lead"])
    box = note.bounding_box()
    assert box
    assert box["y"] + box["height"] < 720
    run(page, "2")
    expect(note).to_be_hidden()


@pytest.mark.parametrize("locale", ["en-US", "ko-KR"])
def test_on_a_phone_the_text_has_the_room_that_few_bars_leave(url: str, visit: Visit, locale: str) -> None:
    page = visit(url, width=390, height=844, locale=locale)  # the recorded run: eight tokens, five bars, and its point
    seen = frames_later(page).evaluate("""() => {
        const box = (name) => document.querySelector(name).getBoundingClientRect();
        const whole = (name) => {
            const { scrollHeight, clientHeight } = document.querySelector(name);
            return scrollHeight <= clientHeight + 4; // the margin below the last line
        };
        const above = (name) => box(name).bottom <= box(".gs-player").top;
        return [whole(".gs-text"), whole(".gs-messages"), above(".gs-numbers"), above(".gs-tabs [role=tablist]")];
    }""")
    assert seen == [True, True, True, True]


def test_on_a_phone_run_brings_the_picture_into_sight(url: str, visit: Visit) -> None:
    page = visit(url, width=390, height=844)
    run(page)
    expect(page.locator("[data-settings]")).to_have_attribute("aria-expanded", "false")
    assert_seen_together(page)
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    assert page.evaluate("scrollY") > 100
    page.locator(".gs-strip").press("Control+Enter")
    page.wait_for_function("document.querySelector('.gs-head').getBoundingClientRect().top >= -1")
    assert page.evaluate("document.querySelector('.gs-head').getBoundingClientRect().top") < 200
