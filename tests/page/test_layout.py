"""One screen: after Run, text, ten bars with everything else, and the scrubber are seen together, and nothing jumps."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Page, expect

import app as application
import decoding
from decoding import assets
from tests.browser import Visit, frames_later, open_settings, served
from tests.fakes import ScriptedEngine

HELD = 20
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


def assert_seen_together_everywhere(page: Page, state: str) -> None:
    """At every size, plain and in the classroom view."""
    page.evaluate("scrollTo(0, 0)")
    for view in ("", "classroom"):
        page.evaluate("(name) => { document.documentElement.className = name; }", view)
        for width, height in SIZES:
            page.set_viewport_size({"width": width, "height": height})
            try:
                assert_seen_together(page)
            except AssertionError as error:
                raise AssertionError(f"{state}, {width} x {height} {view}: {error}") from error
    page.set_viewport_size({"width": SIZES[0][0], "height": SIZES[0][1]})
    page.evaluate("document.documentElement.className = ''")


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


@pytest.mark.parametrize(
    "put_right",
    [
        lambda page: page.locator("#steps input").press_sequentially("9"),
        lambda page: page.keyboard.press("Escape"),
        lambda page: page.locator(".chips button").last.click(),
        lambda page: page.click("#problem-steps p"),
    ],
    ids=["edited", "Escape", "example", "clicked"],
)
def test_a_message_beside_a_field_gets_out_of_the_way(
    url: str, visit: Visit, put_right: Callable[[Page], None]
) -> None:
    page = visit(url, width=1280, height=720)
    page.fill("#steps input", "999")
    page.click("#run")
    expect(page.locator("#problem-steps p")).not_to_be_empty()
    put_right(page)
    expect(page.locator("#problem-steps p")).to_be_empty()
    expect(page.locator("#problem-steps")).to_be_hidden()


@pytest.mark.parametrize("size", [SIZES[0], SIZES[3]])
def test_nothing_jumps_over_a_run_of_120_steps(url: str, visit: Visit, size: tuple[int, int]) -> None:
    page = visit(url, width=size[0], height=size[1])
    run(page, "2")
    page.evaluate(SHIFTS)
    run(page, "120")
    assert page.evaluate("window.shifted") < 0.02


SHIFTS_OUTSIDE_BARS = """() => {
    window.moved = [];
    window.labels = new Set();
    const chart = document.querySelector(".gs-chart");
    const look = () => {
        const isBusy = document.querySelector(".gs").getAttribute("aria-busy") === "true";
        if (isBusy) window.labels.add(getComputedStyle(chart).getPropertyValue("--gs-left"));
    };
    new MutationObserver(look).observe(chart, { attributes: true, attributeFilter: ["style"] });
    new PerformanceObserver((list) => {
        for (const { value, sources } of list.getEntries()) {
            const nodes = sources.map(({ node }) => node?.nodeType === 3 ? node.parentElement : node);
            const outside = nodes.filter((node) => node && !node.closest(".gs-bars, .gs-chip"));
            const names = outside.map((node) => node.id || node.className || node.tagName);
            if (names.length) window.moved.push([value, ...names]);
        }
    }).observe({ type: "layout-shift" });
}"""


@pytest.mark.parametrize(("size", "view"), [(SIZES[0], "classroom"), (SIZES[2], ""), (SIZES[3], "")])
def test_nothing_jumps_while_a_slow_model_writes(visit: Visit, size: tuple[int, int], view: str) -> None:
    """Slower than the half second for which Chrome puts every move down to the click; the steps' rows differ. The
    numbers at the bars' ends go along with the bars, which is the picture itself.
    """
    words = [f" {letter * (2 + 2 * n)}" for n, letter in enumerate("abcdefgh")]
    script = [{word: 0.5 if n == step else 0.01 + 0.005 * n for n, word in enumerate(words)} for step in range(8)]
    slow = ScriptedEngine(script, words=words)
    with served(application.build_app(lambda name, report: slow, ["scripted"])) as url:
        page = visit(url, width=size[0], height=size[1])
        run(page, "24")
        if view:
            page.locator(".gs-strip").press("c")
        page.fill("#prompt textarea", "Another prompt, of other letters")
        page.evaluate(SHIFTS_OUTSIDE_BARS)
        slow.delay = 0.1
        before = page.evaluate("getComputedStyle(document.querySelector('.gs-chart')).getPropertyValue('--gs-left')")
        page.click("#run")
        expect(page.locator(".gs")).to_have_attribute("aria-busy", "true")
        expect(page.locator(".gs")).to_have_attribute("aria-busy", "false")
        assert set(page.evaluate("[...window.labels]")) <= {before}, "while it grows, the bars begin at one place"
        expect(page.locator("#run")).to_be_enabled()
        moved = frames_later(page).evaluate("window.moved")
        assert sum(value for value, *_ in moved) < 0.02, moved
        slow.let_go.set()


def test_the_prompt_grows_while_it_is_edited_and_moves_nothing(url: str, visit: Visit) -> None:
    page = visit(url, width=1280, height=720)
    field = page.locator("#prompt textarea")
    page.fill("#prompt textarea", "a long prompt of many words " * 20)
    before = frames_later(page).evaluate(BOXES)
    assert field.evaluate("(field) => field.offsetHeight") > 60
    page.locator(".gs-strip").focus()
    assert frames_later(page).locator("#prompt textarea").evaluate("(field) => field.offsetHeight") < 40
    lines = "(field) => field.clientHeight / parseFloat(getComputedStyle(field).lineHeight)"
    assert field.evaluate(lines) <= 1, "nothing of a second line"
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


CUT = """() => {
    const width = document.documentElement.clientWidth;
    const seen = [...document.querySelectorAll("#bar *, .gs-step-head *, .gs-temperature *")].filter(
        (node) => node.checkVisibility({ visibilityProperty: true }));
    const numbers = document.querySelector(".gs-numbers");
    const names = seen.filter((node) => node.getBoundingClientRect().right > width + 1).map((node) => node.outerHTML);
    return [...names, ...(numbers.scrollWidth > numbers.clientWidth ? [numbers.textContent] : [])];
}"""


def test_no_field_is_cut_off_between_a_phone_and_a_projector(url: str, visit: Visit) -> None:
    """The page does not scroll sideways, so what stands beyond its edge could not be reached."""
    page = visit(url, width=800, height=600)
    for _ in ("page", "classroom"):
        for width in (761, 800, 900, 1023, 1024, 1100, 1161, 1280):
            page.set_viewport_size({"width": width, "height": 600})
            assert frames_later(page).evaluate(CUT) == [], width
        page.locator("#panel .gs").focus()
        page.keyboard.press("c")
    page.set_viewport_size({"width": 800, "height": 600})
    page.click("[data-settings]")
    expect(page.locator("[data-language='ko']").first).to_be_in_viewport()
    assert page.evaluate(CUT) == []


@pytest.mark.parametrize("locale", ["en-US", "ko-KR"])
def test_in_the_classroom_view_the_prompt_has_room_and_no_label_is_cut(url: str, visit: Visit, locale: str) -> None:
    page = visit(url, height=720, locale=locale)
    page.locator("#panel .gs").focus()
    page.keyboard.press("c")
    cut = frames_later(page).evaluate("""() => [...document.querySelectorAll("#bar label")].filter((label) => {
        const { width, right } = label.querySelector("span")?.getBoundingClientRect() ?? {};
        return width && right > label.closest(".block").getBoundingClientRect().right;
    }).map((label) => label.textContent)""")
    assert cut == []
    prompt = page.locator("#prompt").bounding_box()
    assert prompt
    assert prompt["width"] > 200


def test_a_row_of_the_table_is_cut_where_it_can_be_missed(url: str, visit: Visit) -> None:
    """In front, after a sign, where the text so far is long; in the token and its id, but never in a probability."""
    page = visit(url)
    page.fill("#prompt textarea", "Internationalization, characteristically, of wwwwwwwwwwwwwwww")
    run(page)
    expect(page.locator("tr[data-step] .gs-last").first).to_contain_text("popular toy")  # drawn after what is in sight
    edges = page.evaluate("""() => {
        const row = document.querySelector(".gs-table tbody tr[data-step]"), last = row.querySelector(".gs-last");
        row.querySelector("td .gs-chip-text").textContent = "·" + "w".repeat(60);
        const range = document.createRange();
        const share = [...row.querySelector("td").childNodes].find((node) => node.nodeType === 3);
        range.selectNodeContents(share);
        const ofText = document.createRange();
        ofText.selectNodeContents(last.firstChild);
        const [cell, shown, whole] = [row.querySelector("td"), last, ofText].map((one) => one.getBoundingClientRect());
        return [cell.right - range.getBoundingClientRect().right, shown.left - whole.left, shown.right - whole.right,
            getComputedStyle(last).textOverflow];
    }""")
    beyond_probability, hidden_in_front, hidden_behind, sign = edges
    assert beyond_probability > 0
    assert hidden_in_front > 0
    assert abs(hidden_behind) < 1
    assert sign == "ellipsis"
