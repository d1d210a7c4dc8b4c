"""One screen: after Run, text, ten bars with everything else, and the scrubber are seen together, and nothing jumps."""

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

import app as application
import decoding
from tests.browser import Visit, frames_later, open_settings, served
from tests.fakes import ScriptedEngine

SIZES = [(1280, 720), (1440, 900), (1920, 1080), (390, 844)]
BOXES = """() => {
    const box = (node) => {
        const { top, bottom } = node.getBoundingClientRect();
        return [top, bottom];
    };
    const one = (name) => document.querySelector(name);
    const bars = [...document.querySelectorAll(".gs-column .gs-bars .gs-bar")].map(box);
    return { text: box(one(".gs-text")), chart: box(one(".gs-chart")), strip: box(one(".gs-strip")), bars,
        player: box(one(".gs-player")), wide: document.documentElement.scrollWidth };
}"""
SHIFTS = """() => {
    window.shifted = 0;
    new PerformanceObserver((list) => {
        for (const { hadRecentInput, value } of list.getEntries()) if (!hadRecentInput) window.shifted += value;
    }).observe({ type: "layout-shift" });
}"""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served(application.build_app(lambda name, report: ScriptedEngine(), ["scripted"])) as address:
        yield address


def run(page: Page, steps: str = "30") -> None:
    open_settings(page).fill("#steps input", steps)
    page.fill("#choices input", "10")
    page.click("#run")
    expect(page.locator(".gs-chip")).to_have_count(int(steps))
    expect(page.locator("#run")).to_be_enabled()


def assert_seen_together(page: Page) -> None:
    size = page.viewport_size
    assert size
    there = frames_later(page).evaluate(BOXES)
    assert there["wide"] <= size["width"]
    assert len(there["bars"]) == 11
    top, bottom = there["text"]
    assert bottom - top >= 90, "at least two lines of the text"
    bottom_of_all = min(size["height"], there["player"][0] if size["width"] < 760 else size["height"])
    assert 0 <= top < bottom <= bottom_of_all
    first, last = there["bars"][0], there["bars"][-1]
    assert there["chart"][0] - 1 <= first[0] < last[1] <= there["chart"][1] + 1, "no bar is scrolled away"
    assert 0 <= first[0] < last[1] <= bottom_of_all
    assert 0 <= there["strip"][0] < there["strip"][1] <= size["height"]


@pytest.mark.parametrize("locale", ["en-US", "ko-KR"])
@pytest.mark.parametrize("size", SIZES, ids=[f"{width}x{height}" for width, height in SIZES])
def test_text_bars_and_scrubber_are_seen_together(url: str, visit: Visit, size: tuple[int, int], locale: str) -> None:
    page = visit(url, width=size[0], height=size[1], locale=locale)
    run(page)
    assert_seen_together(page)
    page.locator(".gs-strip").press("c")
    expect(page.locator("html")).to_have_class("classroom")
    assert_seen_together(page)


def test_an_error_moves_nothing(url: str, visit: Visit) -> None:
    page = visit(url, width=1280, height=720)
    run(page)
    before = frames_later(page).evaluate(BOXES)
    page.fill("#steps input", "999")
    page.click("#run")
    expect(page.locator("#problem-steps p")).not_to_be_empty()
    after = frames_later(page).evaluate(BOXES)
    assert after["text"][0] == before["text"][0]  # what is said of the run takes its room from the text's own box
    assert {**after, "text": None} == {**before, "text": None}
    assert_seen_together(page)


@pytest.mark.parametrize("size", [SIZES[0], SIZES[3]])
def test_nothing_jumps_over_a_run_of_120_steps(url: str, visit: Visit, size: tuple[int, int]) -> None:
    page = visit(url, width=size[0], height=size[1])
    run(page, "2")
    page.evaluate(SHIFTS)
    run(page, "120")
    assert page.evaluate("window.shifted") < 0.02


@pytest.mark.parametrize("size", [SIZES[0], SIZES[3]])
def test_a_long_end_message_takes_its_room_from_the_text(url: str, visit: Visit, size: tuple[int, int]) -> None:
    greedy = decoding.trace(ScriptedEngine(), "cut off", max_new_tokens=30, top_k=10)
    *lines, _ = greedy.to_jsonl().splitlines()
    end = json.dumps({"stop_reason": "error", "message": "Something went wrong on the way to the next token. " * 12})
    page = visit(url, width=size[0], height=size[1])
    page.click("#gs-tab-keep")
    file = {"name": "cut.jsonl", "mimeType": "application/jsonl", "buffer": "\n".join([*lines, end, ""]).encode()}
    page.set_input_files("#gs-page-keep input[type=file]", file)
    expect(page.locator(".gs-message")).to_be_visible()
    page.evaluate("scrollTo(0, 0)")
    assert_seen_together(page)


def test_the_prompt_grows_while_it_is_edited_and_moves_nothing(url: str, visit: Visit) -> None:
    page = visit(url, width=1280, height=720)
    field = page.locator("#prompt textarea")
    page.fill("#prompt textarea", "a long prompt of many words " * 20)
    before = frames_later(page).evaluate(BOXES)
    assert field.evaluate("(field) => field.offsetHeight") > 60
    page.locator(".gs-strip").focus()
    assert frames_later(page).locator("#prompt textarea").evaluate("(field) => field.offsetHeight") < 40
    assert page.evaluate(BOXES) == before


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
