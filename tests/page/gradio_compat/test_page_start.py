"""The page requests no animation frames while nothing on it changes, and says so where its script is missing."""

from playwright.sync_api import Browser, expect

import app as application
from tests.browser import Visit, drawn, served
from tests.fakes import ScriptedEngine

COUNT = """(() => {
    const { requestAnimationFrame } = window;
    window.framesAsked = 0;
    window.requestAnimationFrame = (work) => { window.framesAsked += 1; return requestAnimationFrame(work); };
})()"""
AT_REST = """async () => {
    for (let second = 0; second < 30; second++) {
        const before = window.framesAsked;
        await new Promise((done) => { setTimeout(done, 1000); });
        if (window.framesAsked === before) return true;
    }
    return false;
}"""


def test_a_page_at_rest_draws_nothing(visit: Visit) -> None:
    with served(application.build_app(lambda name, report: ScriptedEngine(), ["scripted"])) as url:
        page = visit(url, is_alone=True)
        page.add_init_script(COUNT)
        page.reload()
        drawn(page)
        assert page.evaluate(AT_REST), "after the page has come"
        page.fill("#steps input", "4")
        page.click("#run")
        expect(page.locator(".gs-state")).to_contain_text("4 steps, done")
        assert page.evaluate("window.framesAsked") > 0
        assert page.evaluate(AT_REST), "after a run"


SENTENCE = "This page needs JavaScript"


def test_without_javascript_the_page_says_so(browser: Browser) -> None:
    with served(application.build_app(lambda name, report: ScriptedEngine(), ["scripted"])) as url:
        page = browser.new_page(java_script_enabled=False)
        page.goto(url)
        said = page.locator("noscript p").first
        expect(said).to_be_visible()
        expect(said).to_contain_text(SENTENCE)
        page.close()


def test_a_page_without_its_script_says_so(browser: Browser) -> None:
    """An ad blocker, or a proxy, may refuse the one file that draws the run."""
    with served(application.build_app(lambda name, report: ScriptedEngine(), ["scripted"])) as url:
        page = browser.new_page()
        page.route("**/scripts/panel-*", lambda route: route.abort())
        page.goto(url)
        expect(page.locator("#panel")).to_contain_text(SENTENCE)
        page.close()
