"""A fork keeps its place: the view stays at its step, one line says what the pick changed, and Undo stands there."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

import app as application
from decoding.i18n import translate
from tests.browser import Visit, drawn, frames_later, served, tab
from tests.fakes import ScriptedEngine
from tests.page.actions import wait_for_first_run

ENGINE = ScriptedEngine()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served(application.build_app(lambda name, report: ENGINE, ["scripted"])) as address:
        yield address


def fourth_step(page: Page) -> None:
    """A run of six steps at its fourth: ·most (50 %), ·only (25 %)."""
    page.click("#run")
    wait_for_first_run(page)
    page.locator(".gs-chip").nth(3).click()
    expect(page.locator(".gs-step-title")).to_have_text("Step 4 of 8: ·most")


def test_a_fork_stays_at_its_step_and_says_what_it_changed(url: str, visit: Visit) -> None:
    page = visit(url, height=720)
    fourth_step(page)
    forked = page.locator(".gs-forked")
    expect(forked).to_be_hidden()
    page.locator(".gs-bar").nth(1).click()
    expect(page.locator(".gs-chip.gs-forced")).to_have_count(1)
    expect(page.locator("#run")).to_be_enabled()
    expect(page.locator(".gs-step-title")).to_have_text("Step 4 of 8: ·only")
    expect(forked.locator("span").first).to_have_text(translate("forked.less", taken="·only", left="·most", factor="2"))
    lines = forked.evaluate("(line) => line.clientHeight / parseFloat(getComputedStyle(line).lineHeight)")
    assert lines < 2, "one line"
    page.locator(".gs-bar").nth(0).click()
    expect(forked.locator("span").first).to_have_text(translate("forked.more", taken="·most", left="·only", factor="2"))
    expect(page.locator(".gs-step-title")).to_have_text("Step 4 of 8: ·most")


def test_a_bar_forks_the_step_that_it_shows(url: str, visit: Visit) -> None:
    """Also where another step was chosen that a slow browser has not drawn yet."""
    page = visit(url)
    fourth_step(page)
    page.evaluate("""() => {
        document.querySelector(".gs-chip[data-step='6']").click();
        document.querySelectorAll(".gs-bar")[1].click();
    }""")
    expect(page.locator(".gs-chip.gs-forced")).to_have_attribute("data-step", "3")
    expect(page.locator(".gs-step-title")).to_have_text("Step 4 of 8: ·only")


@pytest.mark.parametrize("locale", ["en-US", "ko-KR"])
def test_its_one_line_holds_undo_in_the_classroom_view_too(url: str, visit: Visit, locale: str) -> None:
    page = visit(url, height=720, locale=locale)
    page.click("#run")
    wait_for_first_run(page)
    page.locator(".gs-strip").press("c")
    page.locator(".gs-chip").nth(4).click()
    expect(page.locator(".gs-strip")).to_have_attribute("aria-valuenow", "5")
    page.locator(".gs-bar").nth(1).click()
    expect(page.locator(".gs-forked")).to_be_visible()
    expect(page.locator("#run")).to_be_enabled()
    lines = (
        frames_later(page)
        .locator(".gs-forked")
        .evaluate("""(note) => {
        const high = parseFloat(getComputedStyle(note).lineHeight);
        const words = document.createRange();
        words.selectNodeContents(note);
        return words.getBoundingClientRect().height / high;
    }""")
    )
    assert lines < 1.5


def test_undo_stands_there_and_keeps_the_place_too(url: str, visit: Visit) -> None:
    page = visit(url, locale="ko-KR")
    page.click("#run")
    wait_for_first_run(page)
    page.locator(".gs-chip").nth(3).click()
    expect(page.locator(".gs-strip")).to_have_attribute("aria-valuenow", "4")
    page.locator(".gs-bar").nth(1).click()
    expect(page.locator(".gs-forked span").first).to_have_text("·most 대신 ·only: 글의 확률이 2분의 1이 되었습니다.")
    page.click('.gs-forked [data-ask="unfork"]')
    expect(page.locator(".gs-forked")).to_be_hidden()
    expect(page.locator(".gs-chip.gs-forced")).to_have_count(0)
    expect(page.locator(".gs-strip")).to_have_attribute("aria-valuenow", "4")
    expect(page.locator(".gs-strip")).to_be_focused()
    page.click("#gs-tab-compare")
    expect(page.locator(".gs-list tbody tr")).to_have_count(2)


def test_a_fork_that_grows_does_not_walk_away(url: str, visit: Visit) -> None:
    page = visit(url)
    fourth_step(page)
    ENGINE.let_go.clear()
    ENGINE.delay = 0.3
    try:
        page.evaluate("""() => {
            window.titles = new Set();
            new MutationObserver(() => titles.add(document.querySelector(".gs-step-title").textContent)).observe(
                document.querySelector(".gs-step-title"), { childList: true, characterData: true, subtree: true });
        }""")
        page.locator(".gs-bar").nth(2).click()
        expect(page.locator(".gs-chip.gs-forced")).to_have_count(1)
        expect(page.locator(".gs")).to_have_attribute("aria-busy", "false")
    finally:
        ENGINE.delay = 0
    expect(page.locator(".gs-step-title")).to_have_text("Step 4 of 8: ·best")
    steps = page.evaluate("[...titles].map((title) => Number(title.match(/Step (\\d+)/)?.[1] ?? 0))")
    assert len(steps) > 3, "it grew before our eyes"
    assert max(steps) == 4


@pytest.fixture
def phone(browser: Browser, url: str) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = tab(context)
    page.goto(url)
    yield drawn(page)
    context.close()


def test_a_finger_is_asked_first(phone: Page) -> None:
    phone.tap("#run")
    wait_for_first_run(phone)
    question = phone.locator(".gs-fork-here")
    begun = ENGINE.begun
    phone.locator(".gs-bar").nth(1).tap()
    expect(question).to_have_text(translate("forked.ask"))
    phone.locator(".gs-bar").nth(2).tap()
    expect(question).to_have_count(1)
    phone.locator(".gs-step-title").tap()
    expect(question).to_have_count(0)
    phone.locator(".gs-bar").nth(0).tap()  # the pick itself
    assert frames_later(phone).locator(".gs-fork-here").count() == 0
    assert ENGINE.begun == begun
    phone.locator(".gs-bar").nth(1).tap()
    question.tap()
    expect(phone.locator(".gs-chip.gs-forced")).to_have_count(1)
    expect(phone.locator(".gs-forked")).to_be_visible()
    expect(question).to_have_count(0)
