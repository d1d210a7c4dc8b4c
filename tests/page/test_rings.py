"""The keyboard's ring and the tour's frame: whole, and beside the letters of what they mark."""

import pytest

from tests.browser import Visit, frames_later

RING = """(selector) => {
    const node = document.querySelector(selector);
    const box = node.getBoundingClientRect();
    const { outlineOffset, outlineWidth } = getComputedStyle(node);
    const inner = parseFloat(outlineOffset), outer = inner + parseFloat(outlineWidth);
    const [least, most] = [[0], [innerWidth]];
    for (let around = node.parentElement; around; around = around.parentElement) {
        const { overflowX, position } = getComputedStyle(around);
        if (position === "fixed") break;
        if (overflowX === "visible") continue;
        const edge = around.getBoundingClientRect();
        least.push(edge.left);
        most.push(edge.left + around.clientLeft + around.clientWidth);
    }
    const words = document.createRange();
    words.selectNodeContents(node);
    return { cut: Math.max(...least) - (box.left - outer) > 0.5 || box.right + outer - Math.min(...most) > 0.5,
        over: box.left - inner - words.getBoundingClientRect().left > 0.5 };
}"""


@pytest.mark.parametrize("size", [(1280, 720), (390, 844)])
def test_no_ring_is_cut_and_no_frame_lies_on_letters(url: str, visit: Visit, size: tuple[int, int]) -> None:
    page = visit(url, width=size[0], height=size[1])
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
