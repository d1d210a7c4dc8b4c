"""What the page says of itself is one thing: address, fields, picture and kept runs agree, whatever is pressed."""

import threading
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

import app as application
from decoding.record.permalink import Link, from_link
from tests.browser import Visit, drawn, frames_later, open_settings, served, tab
from tests.fakes import ScriptedEngine
from tests.page.test_connection import wire

COMES = threading.Event()
"""When the model "slow" has been loaded."""


@pytest.fixture(scope="module")
def engine() -> ScriptedEngine:
    return ScriptedEngine()


@pytest.fixture(scope="module")
def url(engine: ScriptedEngine) -> Iterator[str]:
    def load(name: str, report: object) -> ScriptedEngine:
        if name == "slow":
            COMES.wait(600)
        return engine

    with served(application.build_app(load, ["scripted", "slow"])) as address:
        yield address
    COMES.set()


@pytest.fixture
def held(engine: ScriptedEngine) -> threading.Event:
    """Each step waits until the event is set."""
    engine.delay = 60
    engine.let_go.clear()
    return engine.let_go


@pytest.fixture(autouse=True)
def nothing_stays_held(engine: ScriptedEngine) -> Iterator[None]:
    """Whatever becomes of a test, the next one finds an engine that does not wait."""
    yield
    engine.let_go.set()
    engine.delay = 0


def fill(page: Page, prompt: str, steps: str = "3", choices: str = "3") -> None:
    open_settings(page).fill("#prompt textarea", prompt)
    page.fill("#steps input", steps)
    page.fill("#choices input", choices)


def run(page: Page, prompt: str, steps: str = "3", choices: str = "3") -> None:
    fill(page, prompt, steps, choices)
    page.click("#run")
    expect(page.locator(".gs-prompt")).to_have_text(prompt)
    expect(page.locator(".gs-state")).to_contain_text("done")
    expect(page.locator("#run")).to_be_enabled()


def fields(page: Page) -> tuple[str, ...]:
    names = ("#prompt textarea", "#steps input", "#choices input", "#model input")
    return tuple(page.locator(name).input_value() for name in names)


def expect_fields(page: Page, prompt: str, steps: str, choices: str) -> None:
    expect(page.locator("#prompt textarea")).to_have_value(prompt)
    expect(page.locator("#steps input")).to_have_value(steps)
    expect(page.locator("#choices input")).to_have_value(choices)


def link_in_address(page: Page) -> Link:
    page.wait_for_url("**run=*")
    return from_link(page.evaluate("new URLSearchParams(location.search).get('run')"))


# ---- the address names the request from its start


def reloading(browser: Browser, url: str) -> Page:
    """A page that may be reloaded in mid-run: not `visit`, since Gradio's script complains of the connection."""
    page = tab(browser)
    page.goto(url)
    return drawn(page)


def test_a_reload_in_mid_run_asks_for_the_run_again(url: str, browser: Browser, held: threading.Event) -> None:
    page = reloading(browser, url)
    fill(page, "asked for", "5")
    page.click("#run")
    assert link_in_address(page) == Link("scripted", "asked for", 5, 3, [], 4)  # nothing of it has come yet
    expect(page.locator(".gs-state")).to_contain_text("Reading the prompt")
    page.reload()
    drawn(page)
    held.set()
    expect(page.locator(".gs-state")).to_contain_text("5 steps, done")
    expect(page.locator(".gs-prompt")).to_have_text("asked for")
    expect_fields(page, "asked for", "5", "3")
    page.close()


def test_a_fork_is_named_from_its_start(url: str, browser: Browser, engine: ScriptedEngine) -> None:
    page = reloading(browser, url)
    run(page, "fork of this", "4")
    engine.delay = 60
    engine.let_go.clear()
    page.locator(".gs-chip").nth(1).click()
    other = int(frames_later(page).locator(".gs-bar").nth(1).get_attribute("data-candidate") or "")
    page.locator(".gs-bar").nth(1).click()
    page.wait_for_function("history.state.request")
    assert link_in_address(page) == Link("scripted", "fork of this", 4, 3, [[1, other]], 3)
    page.reload()
    engine.let_go.set()  # before anything is waited for: the link's run may have begun, and have no token yet
    engine.delay = 0
    drawn(page)
    expect(page.locator(".gs-chip.gs-forced")).to_have_count(1)
    expect(page.locator(".gs-state")).to_contain_text("4 steps, done")
    page.close()


def test_a_run_that_was_stopped_before_it_began_leaves_the_address_to_what_is_shown(url: str, visit: Visit) -> None:
    page = visit(url)
    run(page, "shown")
    page.click("#model input")
    page.get_by_role("option", name="slow").click()
    fill(page, "never", "7")
    page.click("#run")
    assert link_in_address(page).prompt == "never"
    page.click("#stop")
    page.wait_for_function("!history.state.request")
    page.locator(".gs-chip").first.click()
    page.wait_for_function("history.state.step === 0")
    assert link_in_address(page).prompt == "shown"


# ---- the fields follow what is on screen


def back(page: Page) -> None:
    page.go_back()


def from_the_list(page: Page) -> None:
    page.click("#gs-tab-compare")
    page.locator(".gs-list [data-show]").nth(1).click()


def undone(page: Page) -> None:
    page.click("#gs-tab-compare")
    page.locator('[data-ask="undo"]').click()


@pytest.mark.parametrize("go", [back, from_the_list, undone])
def test_the_fields_follow_the_run_that_comes_on_screen(go: Callable[[Page], None], url: str, visit: Visit) -> None:
    page = visit(url)
    run(page, "first", "2", "2")
    page.wait_for_function("history.state.number === 2")
    run(page, "second", "4", "5")
    page.wait_for_function("history.state.number === 3")
    page.fill("#prompt textarea", "a draft")
    go(page)
    expect(page.locator(".gs-prompt")).to_have_text("first")
    expect_fields(page, "first", "2", "2")
    expect(page.locator(".gs-old")).to_be_hidden()


RELOAD_WHEN_STORED = """
setInterval(() => { if (sessionStorage.getItem("greedyscope.kept.run.3")) location.reload(); }, 1)
"""


def test_a_reload_at_the_moment_a_run_ends_asks_for_it_no_second_time(url: str, visit: Visit) -> None:
    page = visit(url)
    run(page, "first")
    page.wait_for_function("history.state.number === 2")
    fill(page, "second")
    page.evaluate(RELOAD_WHEN_STORED)
    page.click("#run")
    page.wait_for_function("history.state.number > 2")
    expect(page.locator(".gs-prompt")).to_have_text("second")
    assert page.evaluate("history.state.number") == 3
    undone(page)
    expect(page.locator(".gs-prompt")).to_have_text("first")


def test_what_is_typed_while_a_run_begins_stays(url: str, visit: Visit, held: threading.Event) -> None:
    page = visit(url)
    fill(page, "asked")
    page.click("#run")
    expect(page.locator(".gs-prompt")).to_have_text("asked")
    page.fill("#prompt textarea", "typed since")
    held.set()
    expect(page.locator(".gs-state")).to_contain_text("3 steps, done")
    assert fields(page)[0] == "typed since"
    expect(page.locator(".gs-old")).to_contain_text("It ran with 3 steps, 3 choices, scripted, “asked”.")


@pytest.mark.parametrize("change", ["example", "prompt", "steps", "choices"])
def test_fields_that_name_another_run_are_said_to(url: str, visit: Visit, change: str) -> None:
    page = visit(url)
    run(page, "on screen")
    old = page.locator(".gs-old")
    expect(old).to_be_hidden()
    if change == "example":
        page.click("#example-closest")
    else:
        page.fill(f"#{change} {'textarea' if change == 'prompt' else 'input'}", "9")
    expect(old).to_have_text(
        "An earlier run; press Run for the new one. It ran with 3 steps, 3 choices, scripted, “on screen”."
    )
    expect(page.locator(".gs-is-old")).to_have_count(1)
    page.click("#run")
    expect(page.locator(".gs-state")).to_contain_text("done")
    expect(old).to_be_hidden()


# ---- the runs that are kept outlive a reload


def test_kept_runs_are_there_after_a_reload_and_nothing_is_computed(
    url: str, visit: Visit, engine: ScriptedEngine
) -> None:
    page = visit(url)
    run(page, "first", "2", "2")
    page.wait_for_function("history.state.number === 2")
    page.locator(".gs-bar").nth(1).click()
    expect(page.locator(".gs-chip.gs-forced")).to_have_count(1)
    page.wait_for_function("history.state.number === 3")
    page.locator(".gs-chip").first.click()
    page.wait_for_function("history.state.step === 0")
    begun = engine.begun
    page.reload()
    drawn(page)
    expect(page.locator(".gs-step-title")).to_contain_text("Step 1 of 2")
    expect(page.locator(".gs-chip.gs-forced")).to_have_count(1)
    expect_fields(page, "first", "2", "2")
    page.click("#gs-tab-compare")
    expect(page.locator(".gs-list tbody tr")).to_have_count(3)
    expect(page.locator(".gs-list tbody tr").nth(2).locator("td").nth(1)).to_contain_text("left Run 2 at step 2")
    expect(page.locator(".gs-list caption")).to_contain_text("survive a reload")
    assert engine.begun == begun
    run(page, "another")
    expect(page.locator(".gs-list tr[aria-current] td").first).to_have_text("Run 4")


HOLD_WRITES_BACK = """
const set = window.setTimeout;
window.setTimeout = (call, after, ...values) =>
  set(call, String(call).includes("writes.shift") ? 600_000 : after, ...values);
"""


def test_a_run_is_kept_when_the_page_is_left_before_it_is_written(
    url: str, visit: Visit, engine: ScriptedEngine
) -> None:
    page = visit(url)
    page.evaluate(HOLD_WRITES_BACK)
    run(page, "first", "2", "2")
    page.wait_for_function("history.state.number === 2")
    page.locator(".gs-bar").nth(1).click()
    expect(page.locator(".gs-chip.gs-forced")).to_have_count(1)
    page.wait_for_function("history.state.number === 3")
    begun = engine.begun
    page.reload()
    drawn(page)
    page.click("#gs-tab-compare")
    expect(page.locator(".gs-list tbody tr").nth(2).locator("td").nth(1)).to_contain_text("left Run 2 at step 2")
    assert engine.begun == begun


def test_what_is_kept_has_bounds(url: str, visit: Visit) -> None:
    page = visit(url)
    page.evaluate("""() => { sessionStorage.setItem("mine", "x".repeat(4_900_000)); }""")  # a tab's memory is full
    run(page, "no room", "2", "2")
    page.click("#gs-tab-compare")
    expect(page.locator(".gs-list tbody tr")).to_have_count(2)
    page.reload()
    drawn(page)
    expect(page.locator(".gs-state")).to_contain_text("2 steps, done")  # asked for again


# ---- silence is no success


def test_a_proxy_that_holds_everything_back_is_no_success(url: str, visit: Visit) -> None:
    with wire(url) as relay:
        page = visit(relay.url)
        run(page, "before")
        relay.holds.set()
        fill(page, "after")
        page.click("#run")
        expect(page.locator(".gs-state")).to_have_text("Waiting for the server …")
        expect(page.locator(".gs-old")).to_have_text(
            "This is the previous run: 3 steps, 3 choices, scripted, “before”."
        )
        expect(page.locator(".gs-is-old")).to_have_count(1)
        relay.holds.clear()
        expect(page.locator(".gs-prompt")).to_have_text("after")
        expect(page.locator(".gs-state")).to_contain_text("3 steps, done")
        expect(page.locator(".gs-old")).to_be_hidden()


def test_a_run_that_falls_silent_says_so(url: str, visit: Visit, held: threading.Event) -> None:
    page = visit(url)
    fill(page, "slow")
    page.click("#run")
    expect(page.locator(".gs-state")).to_have_text("Waiting for the server …")  # after 5 seconds
    held.set()
    expect(page.locator(".gs-state")).to_contain_text("3 steps, done")


# ---- a refusal has a way out


@pytest.mark.parametrize("button", [".gs-copy", '[data-copies="frame"]'])
def test_where_nothing_may_be_copied_the_text_stands_there_selected(url: str, visit: Visit, button: str) -> None:
    page = visit(url)
    page.evaluate("""() => {
        Object.defineProperty(navigator, "clipboard", { value: { writeText: () => Promise.reject(new Error("no")) } });
        document.execCommand = () => false;
    }""")
    run(page, "copied")
    page.click("#gs-tab-keep")
    expect(page.locator(button)).to_be_enabled()
    page.click(button)
    field = page.locator(".gs-offered textarea")
    expect(field).to_be_focused()
    selected = page.evaluate("getSelection().toString() || document.activeElement.value.slice("
                             "document.activeElement.selectionStart, document.activeElement.selectionEnd)")  # fmt: skip
    assert "run=1" in selected
    assert selected == field.input_value()
    expect(page.locator(".gs-offered")).to_contain_text("Ctrl+C")
    page.keyboard.press("Escape")
    expect(page.locator(".gs-offered")).to_have_count(0)
    expect(page.locator(button)).to_be_focused()


# ---- a mode cleans up behind itself


def predict(page: Page) -> None:
    page.click("#gs-tab-lesson")
    page.locator('.gs-lesson-start [data-predict="start"]').click()
    page.keyboard.type("only")
    page.keyboard.press("Enter")
    expect(page.locator(".gs-tally")).to_be_visible()
    page.click('[data-predict="next"]')
    page.keyboard.type("left over")


@pytest.mark.parametrize("way", ["stop", "run", "back"])
def test_predicting_leaves_nothing_behind(url: str, visit: Visit, way: str) -> None:
    page = visit(url)
    run(page, "one")
    page.wait_for_function("history.state.number === 2")
    run(page, "two")
    page.wait_for_function("history.state.number === 3")
    predict(page)
    if way == "run":
        page.click("#run")
    if way == "back":
        page.go_back()
    expect(page.locator(".gs-guess")).to_have_value("left over" if way == "stop" else "")
    expect(page.locator("#run")).to_be_enabled()
    page.locator('[data-predict="stop"]').click()
    run(page, "three")
    expect(page.locator(".gs-tally")).to_be_hidden()
    expect(page.locator(".gs-mine")).to_have_count(0)
    expect(page.locator(".gs-predict")).to_be_hidden()
    page.click('.gs-lesson-start [data-predict="start"]')
    expect(page.locator(".gs-guess")).to_have_value("")
    expect(page.locator(".gs-outcome")).to_have_text("Make a guess. Until then, nothing of this step is shown.")
    expect(page.locator(".gs-hands")).not_to_be_checked()


@pytest.mark.parametrize("size", [(1280, 720), (390, 844)])
def test_reveal_is_in_sight_with_ten_choices(url: str, visit: Visit, size: tuple[int, int]) -> None:
    page = visit(url, width=size[0], height=size[1])
    run(page, "ten", "3", "10")
    page.click("#gs-tab-lesson")
    page.click('.gs-lesson-start [data-predict="start"]')
    page.check(".gs-hands")
    reveal = frames_later(page).locator('[data-predict="reveal"]').bounding_box()
    assert reveal
    assert 0 <= reveal["y"] < reveal["y"] + reveal["height"] <= size[1]


def test_the_keys_that_are_offered_work(url: str, visit: Visit) -> None:
    page = visit(url)
    run(page, "keys")
    page.click("#gs-tab-lesson")
    page.click('.gs-lesson-start [data-predict="start"]')
    expect(page.locator(".gs-keys")).to_have_text("By keyboard: ↑ ↓ and Enter, or Esc and then a candidate's number.")
    frames_later(page).keyboard.press("Escape")
    frames_later(page).keyboard.press("2")
    expect(page.locator(".gs-tally")).to_be_visible()
    expect(page.locator(".gs-chip")).to_have_count(1)


@pytest.mark.parametrize("field", ["steps", "choices"])
def test_an_emptied_number_is_called_empty(url: str, visit: Visit, field: str) -> None:
    page = visit(url)
    fill(page, "a")
    page.fill(f"#{field} input", "")
    page.click("#run")
    most = 256 if field == "steps" else 50
    expect(page.locator(f"#problem-{field}")).to_have_text(
        f"The number of {field} is empty or not a number. It has to be a whole number from 1 to {most}."
    )
