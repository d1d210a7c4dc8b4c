"""Why this token, on a phone: both answers are in sight, and going through the steps moves nothing."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser import Visit, frames_later
from tests.page.test_accessibility import COLOURS, EVERY, violations
from tests.page.test_why import PROMPT, asked, run_and_asked, url
from tests.page.why_questions import press_run

__all__ = ["url"]


@pytest.mark.parametrize("language", ["en", "ko"])
def test_on_a_phone_too_both_answers_are_in_sight_after_two_clicks(url: str, visit: Visit, language: str) -> None:
    page = visit(f"{url}?language={language}", width=390, height=844)
    page.click("[data-settings]")
    press_run(page, PROMPT, "2")
    expect(page.locator(".gs-chip")).to_have_count(2)
    expect(page.locator("#run")).to_be_enabled()
    asked(frames_later(page))
    layer, bar = page.locator(".gs-lens-status").bounding_box(), page.locator(".gs-player").bounding_box()
    assert layer
    assert bar
    assert layer["y"] + layer["height"] <= bar["y"]
    before = page.evaluate("scrollY")
    there_and_back(page)
    assert page.evaluate("scrollY") == before
    for top in (".gs-without-text", ".gs-lens-plot"):  # over a tab that is shorter than the page is scrolled
        page.locator(top).evaluate("(part) => part.scrollIntoView()")
        before = frames_later(page).evaluate("scrollY")
        there_and_back(page)
        assert before - page.evaluate("innerHeight") < page.evaluate("scrollY") <= before


def there_and_back(page: Page) -> None:
    """To a step about which nothing was asked."""
    page.click('[data-go="next"]')
    expect(page.locator(".gs-part-of-text").first).to_be_hidden()
    frames_later(page).click('[data-go="previous"]')
    expect(page.locator(".gs-part-of-text").first).to_be_visible()
    frames_later(page)


def test_in_korean_on_a_phone_in_the_dark(url: str, visit: Visit) -> None:
    page = run_and_asked(visit, url)
    page.locator('[data-language="ko"]').first.press("Enter")
    expect(page.locator(".gs-lens-status")).to_have_text("전체 30개 층 가운데 30층부터 ·Paris 토큰이 앞섭니다.")
    assert violations(page, EVERY) == []
    page.set_viewport_size({"width": 390, "height": 844})
    page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert violations(page, COLOURS) == []
