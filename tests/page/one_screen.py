"""Where the parts of the one screen stand, and that they are seen together."""

from playwright.sync_api import Page, expect

from tests.browser import frames_later, open_settings

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
