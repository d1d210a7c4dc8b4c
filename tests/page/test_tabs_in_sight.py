"""A tab that is pressed shows what it holds: its panel stands below the picture, where a projector or a phone ends."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser import Visit, frames_later
from tests.page.one_screen import run

SIZES = [(1280, 720), (390, 844)]
# The open tab: how much of its panel is seen above what is fixed at the lower edge, and how much could be.
PANEL = """() => {
    const tab = document.querySelector('[role="tab"][aria-selected="true"]');
    const { top, bottom, height } = document.getElementById(tab.getAttribute("aria-controls")).getBoundingClientRect();
    const player = document.querySelector(".gs-player");
    const isFixed = getComputedStyle(player).position === "fixed";
    const lower = isFixed ? player.getBoundingClientRect().top : innerHeight;
    const above = [...document.querySelectorAll(".gs-column")].filter((column) => (
        ["fixed", "sticky"].includes(getComputedStyle(column).position)));
    const upper = Math.max(0, ...above.map((column) => column.getBoundingClientRect().bottom));
    return { name: tab.id, seen: Math.min(bottom, lower) - Math.max(top, 0), least: Math.min(height, lower * 0.45),
        tab: tab.getBoundingClientRect().top - upper, scrolled: scrollY };
}"""


def seen(page: Page) -> dict[str, float]:
    panel: dict[str, float] = frames_later(frames_later(page)).evaluate(PANEL)
    return panel


def assert_in_sight(page: Page) -> None:
    panel = seen(page)
    assert panel["seen"] >= panel["least"] - 1, panel
    assert panel["tab"] >= 0, panel


@pytest.mark.parametrize("size", SIZES)
def test_a_pressed_tab_comes_into_sight(url: str, visit: Visit, size: tuple[int, int]) -> None:
    page = visit(url, width=size[0], height=size[1])
    run(page, "12")
    names = ["lesson", "whatif", "tree", "compare", "keep", "reading", "table", "why"]
    for name in names:
        page.evaluate("scrollTo(0, 0)")
        page.locator(f"#gs-tab-{name}").evaluate("(tab) => { tab.parentElement.scrollLeft = tab.offsetLeft - 40; }")
        box = page.locator(f"#gs-tab-{name}").bounding_box()
        assert box
        page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 8)  # Playwright's own click would scroll to it
        assert seen(page)["name"] == f"gs-tab-{name}"
        assert_in_sight(page)
    page.evaluate("scrollTo(0, 0)")
    page.locator("#gs-tab-why").evaluate("(tab) => tab.focus({ preventScroll: true })")
    for _ in names:
        page.keyboard.press("ArrowRight")
        assert_in_sight(page)


@pytest.mark.parametrize("size", SIZES)
def test_a_tab_that_is_seen_stays_where_it_is(url: str, visit: Visit, size: tuple[int, int]) -> None:
    """So does one where the reader only goes on to another step."""
    page = visit(url, width=size[0], height=size[1])
    run(page, "12")
    page.click("#gs-tab-lesson")
    seen(page)
    page.evaluate("scrollBy(0, -60)")
    before = seen(page)["scrolled"]
    page.locator("#gs-tab-lesson").press("Enter")
    assert seen(page)["scrolled"] == before
    page.evaluate("scrollTo(0, 0)")
    for key in ("Home", "ArrowRight", "End"):
        page.locator(".gs-strip").evaluate("(strip) => strip.focus({ preventScroll: true })")
        page.keyboard.press(key)
        assert seen(page)["scrolled"] == 0, key


def test_in_a_prediction_the_text_lies_over_no_pressed_tab(url: str, visit: Visit) -> None:
    page = visit(url, width=390, height=844)
    run(page, "12")
    page.click("#gs-tab-lesson")
    page.locator('.gs-lesson-start [data-predict="start"]').click()
    expect(page.locator(".gs-guess")).to_be_visible()
    frames_later(page).evaluate("scrollTo(0, 0)")
    page.locator("#gs-tab-lesson").press("ArrowLeft")
    assert_in_sight(page)


@pytest.mark.parametrize("size", SIZES)
def test_a_tab_that_the_classroom_view_opens_stays_where_it_is(url: str, visit: Visit, size: tuple[int, int]) -> None:
    page = visit(url, width=size[0], height=size[1])
    run(page, "12")
    page.click("#gs-tab-keep")
    frames_later(page).evaluate("scrollTo(0, 0)")
    page.locator(".gs-strip").evaluate("(strip) => strip.focus({ preventScroll: true })")
    page.keyboard.press("c")
    panel = seen(page)
    assert (panel["name"], panel["scrolled"]) == ("gs-tab-table", 0)
