"""Fields, labels and rows: what may be cut off, and where; and a message beside a field, which covers others."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser import Visit, frames_later
from tests.page.one_screen import run

CUT = """() => {
    const width = document.documentElement.clientWidth;
    const seen = [...document.querySelectorAll("#bar *, .gs-step-head *, .gs-temperature *")].filter(
        (node) => node.checkVisibility({ visibilityProperty: true }));
    const numbers = document.querySelector(".gs-numbers");
    const names = seen.filter((node) => node.getBoundingClientRect().right > width + 1).map((node) => node.outerHTML);
    return [...names, ...(numbers.scrollWidth > numbers.clientWidth ? [numbers.textContent] : [])];
}"""


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
