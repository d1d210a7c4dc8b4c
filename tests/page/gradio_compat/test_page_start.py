"""The page requests no animation frames while nothing on it changes."""

from playwright.sync_api import expect

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
