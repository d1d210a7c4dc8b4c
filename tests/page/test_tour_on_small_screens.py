"""The tour where there is little room: a prediction above its card, the text's band, and a card that is folded."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

import app as application
from tests.browser import Visit, drawn, frames_later, served, tab
from tests.fakes import ScriptedEngine
from tests.page.tour_student import Student, covered

PREDICTING = """() => {
    const box = (name) => document.querySelector(name).getBoundingClientRect();
    const [title, text, card] = [".gs-step-title", ".gs-text", ".gs-tour"].map(box);
    const isBeside = title.left >= text.right;
    return { title: title.top - (isBeside ? 0 : text.bottom), under: card.top - box(".gs-predict").bottom,
        toured: [...document.querySelectorAll(".gs-toured")].filter((part) => part.checkVisibility())
            .map((part) => part.className) };
}"""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served(application.build_app(lambda name, report: ScriptedEngine(), ["scripted"])) as address:
        yield address


@pytest.mark.parametrize("language", ["en", "ko"])
@pytest.mark.parametrize(("width", "height"), [(1280, 720), (390, 844)])
def test_a_prediction_its_title_and_its_score_are_above_the_card(
    url: str, browser: Browser, width: int, height: int, language: str
) -> None:
    size: Any = {"width": width, "height": height}
    context = browser.new_context(viewport=size, has_touch=width < 760, is_mobile=width < 760)
    page = tab(context)
    page.goto(f"{url}?language={language}")
    student = Student(drawn(page), language)
    student.run(8)
    page.evaluate("localStorage.setItem('greedyscope.tour', '7')")
    drawn(page.reload() and page).locator('.gs-head [data-tour="open"]').click()
    student.at(8, "predict")
    page.click("#gs-tab-lesson")
    assert covered(page) == []
    page.locator('.gs-lesson-start [data-predict="start"]').click()
    for _ in range(3):
        expect(page.locator(".gs-guess")).to_be_focused()
        there = frames_later(frames_later(page)).evaluate(PREDICTING)
        assert there["title"] >= 0
        assert there["toured"] == ["gs-question gs-toured"], "and no start, which is done"
        page.locator('[data-guess="0"]').click()
        expect(page.locator(".gs-outcome")).to_be_visible()
        there = frames_later(frames_later(page)).evaluate(PREDICTING)
        assert there["title"] >= 0
        assert there["under"] >= 0
        assert there["toured"] == ["gs-tally gs-toured"]
        assert covered(page) == []
        page.locator('[data-predict="next"]').click()
    context.close()


def test_the_band_ends_where_the_picture_does(url: str, visit: Visit) -> None:
    """Also once the reader has scrolled, or has made the window narrower."""
    page = visit(url, height=720)
    student = Student(page, "en")
    student.run(6)
    page.locator('.gs-head [data-tour="open"]').press("Enter")
    page.click('[data-tour="next"]')
    page.click("#gs-tab-lesson")
    expect(page.locator(".gs-band")).to_have_count(1)
    band = """() => {
        const column = document.querySelector(".gs-column").getBoundingClientRect();
        const { bottom } = document.querySelector(".gs-main").getBoundingClientRect();
        const beside = document.querySelector(".gs-column + .gs-column").getBoundingClientRect();
        return [column.bottom - Math.max(bottom, 124), beside.left - column.right];
    }"""
    for by in (-100, 60, 100):
        frames_later(page).evaluate("(by) => scrollBy(0, by)", by)
        assert frames_later(page).evaluate(band)[0] == pytest.approx(0, abs=1), by
    page.set_viewport_size({"width": 1000, "height": 720})
    beyond, gap = frames_later(frames_later(page)).evaluate(band)
    assert beyond == pytest.approx(0, abs=1)
    assert gap >= 0


@pytest.mark.parametrize("size", [(360, 640), (844, 390)])
def test_the_card_can_be_folded_and_stays_so(url: str, browser: Browser, size: tuple[int, int]) -> None:
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, has_touch=True, is_mobile=True)
    page = tab(context)
    page.goto(url)
    drawn(page).locator('.gs-head [data-tour="open"]').tap()
    card, task = page.locator(".gs-tour"), page.locator(".gs-tour-task")
    expect(task).to_be_visible()
    before = card.bounding_box()
    page.locator(".gs-tour summary").tap()
    expect(task).to_be_hidden()
    folded = frames_later(page).locator(".gs-tour").bounding_box()
    assert before
    assert folded
    assert folded["height"] <= 110
    assert folded["y"] + folded["height"] == pytest.approx(before["y"] + before["height"], abs=1)
    page.locator('[data-tour="next"]').tap()
    expect(page.locator(".gs-tour-place")).to_contain_text("2")
    expect(task).to_be_hidden()
    page.locator(".gs-tour summary").tap()
    expect(task).to_be_visible()
    context.close()
