"""By keyboard: the text is one stop, Ctrl+Enter runs, and no shortcut depends on the letters of a layout."""

from playwright.sync_api import Page, expect

from decoding.i18n import translate
from tests.browser import Visit, frames_later
from tests.page.actions import wait_for_first_run

PRESS = """([selector, init]) => document.querySelector(selector).dispatchEvent(
    new KeyboardEvent("keydown", { bubbles: true, cancelable: true, ...init }))"""


def run(page: Page) -> Page:
    page.click("#run")
    wait_for_first_run(page)
    return frames_later(page)


def test_the_text_is_one_stop_with_arrows_inside(url: str, visit: Visit) -> None:
    page = run(visit(url))
    assert page.locator('.gs-chip[tabindex="0"]').count() == 1
    page.locator('.gs-chip[tabindex="0"]').focus()
    for key, step in (("Home", 1), ("ArrowRight", 2), ("ArrowRight", 3), ("ArrowLeft", 2), ("End", 8)):
        page.keyboard.press(key)
        expect(page.locator(".gs-step-title")).to_contain_text(f"Step {step} of 8")
        expect(page.locator(".gs-chip").nth(step - 1)).to_be_focused()
    assert page.locator('.gs-chip[tabindex="0"]').count() == 1
    page.keyboard.press("Tab")
    assert page.locator(".gs-text :focus").count() == 0
    page.keyboard.press("Shift+Tab")
    expect(page.locator(".gs-chip").nth(7)).to_be_focused()


def test_the_bars_are_one_stop_with_arrows_inside(url: str, visit: Visit) -> None:
    page = visit(url)
    page.fill("#choices input", "50")
    run(page)
    bars = page.locator(".gs-column button.gs-bar")
    stops = page.locator('.gs-column button.gs-bar[tabindex="0"]')
    assert bars.count() > 5
    expect(stops).to_have_count(1)
    page.locator(".gs-zoom").focus()
    page.keyboard.press("Tab")
    expect(bars.first).to_be_focused()
    for key, place in (("ArrowDown", 1), ("ArrowDown", 2), ("ArrowUp", 1), ("ArrowRight", 1)):
        page.keyboard.press(key)
        frames_later(page)
        expect(bars.nth(place)).to_be_focused()
        expect(stops).to_have_count(1)
    bars.first.click()  # it is picked already, so that nothing is asked
    expect(bars.first).to_be_focused()
    expect(bars.first).to_have_attribute("tabindex", "0")
    expect(stops).to_have_count(1)
    page.keyboard.press("Shift+Tab")
    expect(page.locator(".gs-zoom")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(page.locator(".gs-heat")).to_be_focused()


def test_control_and_enter_run_and_it_is_said(url: str, visit: Visit) -> None:
    page = visit(url)
    expect(page.locator("#run")).to_have_attribute("title", translate("page.run.title"))
    page.locator(".gs-strip").press("Control+Enter")
    wait_for_first_run(page)
    page.fill("#steps input", "3")
    page.locator("#steps input").press("Control+Enter")
    expect(page.locator(".gs-state")).to_contain_text("3 steps, done")
    page.click("#gs-tab-compare")
    expect(page.locator(".gs-list tbody tr")).to_have_count(3)
    page.click("#gs-tab-reading")
    expect(page.locator("#gs-page-reading")).to_contain_text("Ctrl+Enter")


def test_the_classroom_key_is_the_same_key_in_korean(url: str, visit: Visit) -> None:
    page = visit(url, locale="ko-KR")
    html = page.locator("html")
    page.evaluate(PRESS, [".gs-strip", {"key": "ㅊ", "code": "KeyC", "isComposing": True}])
    expect(html).not_to_have_class("classroom")
    page.evaluate(PRESS, [".gs-strip", {"key": "Process", "code": "KeyC", "keyCode": 229}])
    expect(html).not_to_have_class("classroom")
    page.evaluate(PRESS, [".gs-strip", {"key": "ㅊ", "code": "KeyC"}])
    expect(html).to_have_class("classroom")
    page.evaluate(PRESS, [".gs-strip", {"key": "j", "code": "KeyC"}])  # Dvorak: its c is elsewhere
    expect(html).to_have_class("classroom")
    page.evaluate(PRESS, [".gs-strip", {"key": "c", "code": "KeyI"}])
    expect(html).not_to_have_class("classroom")


def test_no_key_is_a_shortcut_while_a_word_is_composed(url: str, visit: Visit) -> None:
    page = run(visit(url))
    before = page.locator(".gs-step-title").inner_text()
    page.evaluate(PRESS, [".gs-strip", {"key": "ArrowLeft", "isComposing": True}])
    page.evaluate(PRESS, [".gs-strip", {"key": "Home", "keyCode": 229}])
    assert frames_later(page).locator(".gs-step-title").inner_text() == before
    page.fill("#prompt textarea", "안녕")
    page.evaluate(PRESS, ["#prompt textarea", {"key": "Enter", "isComposing": True}])
    page.wait_for_timeout(300)
    expect(page.locator(".gs-prompt")).not_to_have_text("안녕")
    page.locator("#prompt textarea").press("Enter")
    expect(page.locator(".gs-prompt")).to_have_text("안녕")


def test_the_list_of_models_closes_when_tab_goes_on(url: str, visit: Visit) -> None:
    page = visit(url)
    field, options = page.locator("#model input"), page.locator("#model [role=option]")
    for key in ("Tab", "Shift+Tab"):
        field.focus()
        expect(field).to_have_attribute("aria-expanded", "true")
        expect(options).not_to_have_count(0)
        page.keyboard.press(key)
        expect(field).not_to_be_focused()
        frames_later(frames_later(page))  # Gradio would open it again only after it has closed it
        expect(options, key).to_have_count(0)
        expect(field).to_have_attribute("aria-expanded", "false")
