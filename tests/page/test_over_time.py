"""What a reader sees while something is being written: each state follows the one before it, and none is a lie."""

import re
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

import app as application
from tests.browser import Visit, served
from tests.fakes import ScriptedEngine, endless_engine
from tests.waiting import until

# Every sentence of the state line, and the chips beside it, as they are after each change.
WATCH_JS = """() => {
    window.seen = [];
    const state = document.querySelector(".gs-state");
    const note = () => window.seen.push([state.textContent, document.querySelectorAll(".gs-chip").length]);
    const all = { childList: true, characterData: true, subtree: true };
    new MutationObserver(note).observe(document.querySelector(".gs"), all);
}"""


@pytest.fixture(scope="module")
def engine() -> ScriptedEngine:
    return endless_engine()


@pytest.fixture(scope="module")
def url(engine: ScriptedEngine) -> Iterator[str]:
    with served(application.build_app(lambda name, report: engine, ["scripted"])) as address:
        yield address


@pytest.fixture
def page(url: str, engine: ScriptedEngine, visit: Visit) -> Iterator[Page]:
    engine.delay = 0.0
    yield visit(url)
    engine.delay = 0.0  # what is still being written ends at once


def run(page: Page, steps: int) -> None:
    page.fill("#steps input", str(steps))
    page.evaluate(WATCH_JS)
    page.click("#run")


def test_the_panel_is_drawn_however_late_its_script_comes(page: Page, url: str) -> None:
    page.route("**/scripts/*.js", lambda route: (time.sleep(1.5), route.continue_()))
    page.goto(url)
    expect(page.locator(".gs-state")).to_contain_text("8 steps, done")
    page.wait_for_selector(".gs-plotted")


def test_of_a_slow_model_each_step_is_seen(page: Page, engine: ScriptedEngine) -> None:
    engine.delay = 0.35
    run(page, 9)
    expect(page.locator(".gs-state")).to_contain_text("9 steps, done")
    states = {state for state, _ in page.evaluate("window.seen")}
    assert {f"Step {step} of 9 …" for step in range(1, 9)} <= states


def test_a_run_that_comes_at_once_is_not_written_under_an_older_state(page: Page) -> None:
    run(page, 256)
    expect(page.locator(".gs-state")).to_contain_text("256 steps, done")
    older = [chips for state, chips in page.evaluate("window.seen") if state.startswith(("Reading", "Step 1 of"))]
    assert max(older, default=0) <= 64, older


def test_an_example_that_is_chosen_in_mid_run_does_not_make_the_run_an_older_one(
    page: Page, engine: ScriptedEngine
) -> None:
    engine.delay = 0.3
    run(page, 20)
    expect(page.locator(".gs-state")).to_contain_text(re.compile(r"Step \d+ of 20"))
    page.click("#example-repeats")
    expect(page.locator(".gs-chip").nth(8)).to_be_attached()
    expect(page.locator(".gs-old")).to_be_hidden()
    engine.delay = 0.0
    expect(page.locator(".gs-old")).to_contain_text("An earlier run")


def test_where_another_run_is_looked_at_it_is_said_that_one_is_being_written(
    page: Page, engine: ScriptedEngine
) -> None:
    engine.delay = 0.2
    run(page, 30)
    expect(page.locator(".gs-state")).to_contain_text(re.compile(r"Step \d+ of 30"))
    page.click("#gs-tab-compare")
    page.locator("[data-show]").first.click()
    expect(page.locator(".gs-state")).to_contain_text("Run 2 is still being written …")
    engine.delay = 0.0
    expect(page.locator(".gs-state")).not_to_contain_text("being written")
    expect(page.locator("#run")).to_be_enabled()


def test_a_fork_reads_out_what_it_adds(page: Page) -> None:
    run(page, 12)
    expect(page.locator(".gs-state")).to_contain_text("12 steps, done")
    page.locator(".gs-chip").nth(9).click()
    expect(page.locator(".gs-strip")).to_have_attribute("aria-valuenow", "10")
    page.evaluate("""() => {
        window.logged = 0;
        const count = (changes) => {
            for (const { addedNodes } of changes)
                window.logged += [...addedNodes].filter(({ tagName }) => tagName).length;
        };
        new MutationObserver(count).observe(document.querySelector('[role="log"]'), { childList: true });
    }""")
    page.locator(".gs-bar[data-candidate]").nth(1).click()
    until(lambda: page.evaluate("window.logged") == 3)
    expect(page.locator("#run")).to_be_enabled()


def test_a_question_that_is_being_answered_is_not_waited_for(page: Page, engine: ScriptedEngine) -> None:
    run(page, 4)
    expect(page.locator(".gs-state")).to_contain_text("4 steps, done")
    engine.delay = 0.3
    page.click("#gs-tab-whatif")
    page.locator('[data-ask="draws"]').click()
    page.wait_for_timeout(2500)  # the page says after one second that nothing has come
    engine.delay = 0.0
    assert not [state for state, _ in page.evaluate("window.seen") if "Waiting" in state]
