"""The parts of the text in "Why?", for a pointer, for the keyboard alone, and for a screen reader."""

import re

from playwright.sync_api import expect

from tests.browser import Visit, frames_later
from tests.fakes import ScriptedEngine
from tests.page.why_questions import Gated, first_of_two_steps, page_over

ANNOUNCED = """() => {
    window.announced = [];
    const live = "[role=status], [role=alert], [aria-live]:not([aria-live=off])";
    new MutationObserver((changes) => {
        const regions = changes.map(({ target }) => (target.closest ? target : target.parentElement).closest(live));
        const written = [...new Set(regions)].map((region) => region?.innerText.trim());
        window.announced.push(...written.filter(Boolean));
    }).observe(document.body, { subtree: true, childList: true, characterData: true });
}"""


def test_an_answer_is_announced_once_and_not_while_it_grows(visit: Visit) -> None:
    engine = Gated()
    with first_of_two_steps(visit, page_over(engine), "ab" * 50) as page:
        page.evaluate(ANNOUNCED)
        engine.read.clear()
        page.locator(".gs-why-button").click()
        expect(page.locator(".gs-without-progress")).to_have_text("Left out 1 of 64 tokens …")
        expect(page.locator(".gs-without-status")).to_have_text("")
        engine.gate.set()
        expect(page.locator(".gs-part-of-text")).to_have_count(64)
        page.wait_for_selector(".gs[aria-busy=false]")
        expect(page.locator(".gs-without-status")).to_contain_text("Without ")  # the tab is drawn after the run's state
        strongest = page.locator(".gs-without-status").inner_text()
        assert strongest.startswith("Without ")
        announced = page.evaluate("window.announced")
        assert announced.count(strongest) == 1
        assert not [text for text in announced if "Left out" in text]
        assert len([text for text in announced if text.startswith("Without ")]) == 1


def test_the_parts_are_one_stop_of_the_tab_key(visit: Visit) -> None:
    """With arrows inside, as the run's own text. A part has its sentence as its name, and is not announced besides."""
    with first_of_two_steps(visit, page_over(ScriptedEngine()), "abcdefgh") as page:
        page.locator(".gs-why-button").click()
        parts = page.locator(".gs-part-of-text")
        expect(parts).to_have_count(8)
        page.wait_for_selector(".gs[aria-busy=false]")
        expect(page.locator(".gs-without-status")).not_to_be_empty()
        assert frames_later(page).locator(".gs-part-of-text[tabindex='0']").count() == 1
        status = page.locator(".gs-without-status").inner_text()
        page.evaluate(ANNOUNCED)
        page.locator(".gs-part-of-text[tabindex='0']").focus()
        for key, place in (
            ("Home", 0),
            ("ArrowRight", 1),
            ("ArrowRight", 2),
            ("ArrowLeft", 1),
            ("End", 7),
            ("ArrowRight", 7),
        ):
            page.keyboard.press(key)
            expect(parts.nth(place)).to_be_focused()
            expect(parts.nth(place)).to_have_class(re.compile("gs-pointed-at"))
            name = parts.nth(place).get_attribute("aria-label")
            expect(page.locator(".gs-without-point")).to_have_text(str(name))
        assert page.locator(".gs-part-of-text[tabindex='0']").count() == 1
        page.keyboard.press("Tab")
        expect(page.locator(".gs-without-more summary")).to_be_focused()
        page.keyboard.press("Shift+Tab")
        expect(parts.nth(7)).to_be_focused()
        expect(page.locator(".gs-chip[data-step='0']")).to_have_attribute("aria-current", "step")  # no other step
        expect(page.locator(".gs-without-status")).to_have_text(status)
        assert page.evaluate("window.announced") == []
        # The keys up and down scroll the page, as anywhere in a tab: they do not go to the bars.
        page.evaluate("scrollTo(0, 0)")
        page.keyboard.press("ArrowDown")
        page.wait_for_function("scrollY > 0")
        expect(parts.nth(7)).to_be_focused()


def test_the_strongest_part_is_back_once_no_other_is_pointed_at(visit: Visit) -> None:
    with first_of_two_steps(visit, page_over(ScriptedEngine()), "abcdefgh") as page:
        page.locator(".gs-why-button").click()
        parts, point = page.locator(".gs-part-of-text"), page.locator(".gs-without-point")
        expect(parts).to_have_count(8)
        page.wait_for_selector(".gs[aria-busy=false]")
        top = "() => document.querySelector('.gs-without-text').offsetTop"
        expect(page.locator(".gs-without-status")).not_to_be_empty()
        before = frames_later(page).evaluate(top)
        parts.nth(2).hover()
        expect(point).to_have_text(str(parts.nth(2).get_attribute("aria-label")))
        expect(page.locator(".gs-pointed-at")).to_have_count(1)
        expect(page.locator(".gs-without-status")).to_have_css("opacity", "0")
        assert page.evaluate(top) == before
        page.locator(".gs-lens-status").hover()
        expect(point).to_have_text("")
        expect(page.locator(".gs-pointed-at")).to_have_count(0)
        expect(page.locator(".gs-without-status")).to_have_css("opacity", "1")
