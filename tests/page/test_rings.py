"""The keyboard's ring and the tour's frame: whole, and beside the letters of what they mark."""

import pytest

from tests.browser import Visit, frames_later, open_settings

RING = """(selector) => {
    const node = document.querySelector(selector);
    const box = node.getBoundingClientRect();
    const { outlineOffset, outlineWidth } = getComputedStyle(node);
    const inner = parseFloat(outlineOffset), outer = inner + parseFloat(outlineWidth);
    const seen = { left: 0, top: 0, right: innerWidth, bottom: innerHeight };
    for (let around = node.parentElement; around; around = around.parentElement) {
        const { display, overflowX, overflowY, position } = getComputedStyle(around);
        if (position === "fixed") break;
        if (display === "contents") continue;
        const { left, top } = around.getBoundingClientRect();
        const [x, y] = [left + around.clientLeft, top + around.clientTop];
        if (overflowX !== "visible") {
            Object.assign(seen, { left: Math.max(seen.left, x), right: Math.min(seen.right, x + around.clientWidth) });
        }
        if (overflowY !== "visible") {
            Object.assign(seen, { top: Math.max(seen.top, y), bottom: Math.min(seen.bottom, y + around.clientHeight) });
        }
    }
    const words = document.createRange();
    words.selectNodeContents(node);
    const beyond = [seen.left - box.left, seen.top - box.top, box.right - seen.right, box.bottom - seen.bottom];
    return { cut: Math.max(...beyond) + outer > 0.5,
        over: box.left - inner - words.getBoundingClientRect().left > 0.5 };
}"""


@pytest.mark.parametrize("size", [(1280, 720), (390, 844)])
def test_no_ring_is_cut_and_no_frame_lies_on_letters(url: str, visit: Visit, size: tuple[int, int]) -> None:
    page = visit(url, width=size[0], height=size[1])
    open_settings(page)
    for field in ("#prompt textarea", "#steps input", "#choices input", "#model input", "#run"):
        page.focus(field)
        page.keyboard.press("Shift")  # the ring is the keyboard's
        assert not frames_later(page).evaluate(RING, field)["cut"], field
    for view in ("", "classroom"):
        page.evaluate("(name) => { document.documentElement.className = name; }", view)
        page.locator(".gs-strip").press("End")
        assert not frames_later(page).evaluate(RING, ".gs-strip")["cut"], view
    page.evaluate("document.documentElement.className = ''")
    page.click("#gs-tab-lesson")
    page.locator('.gs-head [data-tour="open"]').click()
    toured = {1: [".gs-chart"], 2: [".gs-formula", ".gs-chain"], 3: [".gs-temperature"], 5: [".gs-lines"]}
    for stop in range(1, 6):
        for selector in toured.get(stop, []):
            assert frames_later(page).evaluate(RING, f"{selector}.gs-toured") == {"cut": False, "over": False}, selector
        page.click('[data-tour="next"]')
