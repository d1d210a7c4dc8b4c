"""Run and Stop, pressed one after the other. On a phone, Stop lies over Run and is seen while it can be pressed: the
prompt has the room, and nothing moves.
"""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

import app as application
from tests.browser import Visit, frames_later, served
from tests.fakes import ScriptedEngine

ENGINE = ScriptedEngine(context_length=64, delay=60)
# From side to side, once nothing moves: the theme eases its fields into the classroom view.
BOXES = """async () => {
    await Promise.all(document.getAnimations().map((each) => each.finished.catch(() => {})));
    return ["#prompt", "#run", "#stop", "[data-settings]"].map((name) => {
        const { left, right } = document.querySelector(name).getBoundingClientRect();
        return [left, right];
    });
}"""
# What a finger meets in the middle of Run and at its edges.
MET = """() => {
    const { left, right, top, bottom } = document.querySelector("#run").getBoundingClientRect();
    const places = [left + 2, (left + right) / 2, right - 2];
    return [...new Set(places.map((x) => document.elementFromPoint(x, (top + bottom) / 2).id))];
}"""

# What it meets in its middle, whenever either of the two was locked or unlocked and Run can be pressed; the first time.
MET_AT_THE_END = """() => {
    const run = document.querySelector("#run");
    new MutationObserver(() => {
        const { left, right, top, bottom } = run.getBoundingClientRect();
        const { id } = document.elementFromPoint((left + right) / 2, (top + bottom) / 2);
        if (!run.disabled) document.body.dataset.met ??= id;
    }).observe(run.parentElement, { attributeFilter: ["disabled"], subtree: true });
}"""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served(application.build_app(lambda name, report: ENGINE, ["scripted"])) as there:
        yield there


@pytest.mark.parametrize("width", [390, 360])
def test_open_settings_move_nothing_in_the_first_row(url: str, visit: Visit, width: int) -> None:
    page = visit(url, width=width, height=844)
    before = frames_later(page).evaluate(BOXES)
    page.click("[data-settings]")
    expect(page.locator("#steps")).to_be_visible()
    assert frames_later(page).evaluate(BOXES) == before


def begun(page: Page) -> Page:
    """A run that waits in its first step."""
    ENGINE.let_go.clear()
    tap(page)
    expect(page.locator("#stop")).to_be_enabled()
    return page


def tap(page: Page, *, again: bool = False) -> None:
    """Whichever of Run and Stop can be pressed; on a phone both are in one place. `again`: as a double tap's second."""
    button = page.locator(":is(#run, #stop):enabled").bounding_box()
    assert button
    page.mouse.move(button["x"] + 20, button["y"] + 20)
    page.mouse.down(click_count=2 if again else 1)
    page.mouse.up(click_count=2 if again else 1)


def done(page: Page) -> None:
    ENGINE.let_go.set()
    expect(page.locator("#run")).to_be_enabled()


@pytest.mark.parametrize("locale", ["en-US", "ko-KR"])
@pytest.mark.parametrize(("width", "least"), [(390, 220), (360, 190)])
def test_stop_is_where_run_was(url: str, visit: Visit, width: int, least: int, locale: str) -> None:
    page = visit(url, width=width, height=844, locale=locale)
    run, stop = page.locator("#run"), page.locator("#stop")
    for view in ("", "classroom"):
        page.evaluate("(name) => { document.documentElement.className = name; }", view)
        before = frames_later(page).evaluate(BOXES)
        left, right = before[0]
        assert right - left >= least - (20 if view else 0), view
        assert before[1] == before[2], view
        assert page.evaluate(MET) == ["run"]
        ENGINE.let_go.clear()
        run.click()
        expect(stop).to_be_enabled()
        assert frames_later(page).evaluate(BOXES) == before, view
        assert page.evaluate(MET) == ["stop"]
        for button in (run, stop):
            assert button.evaluate("(button) => button.scrollWidth <= button.clientWidth"), view
        stop.click()
        done(page)
        assert frames_later(page).evaluate(BOXES) == before, view
        assert page.evaluate(MET) == ["run"]


def test_a_run_that_was_stopped_before_its_first_step_can_be_run_again(url: str, visit: Visit) -> None:
    """The new one begins with the very lines that the stopped one has."""
    page = begun(visit(url))
    tap(page)
    done(page)
    expect(page.locator(".gs-state")).to_contain_text("0 steps, stopped")
    tap(page)
    expect(page.locator(".gs-state")).to_contain_text("8 steps, done")


def test_a_second_tap_on_run_stops_nothing(url: str, visit: Visit) -> None:
    page = begun(visit(url, width=390, height=844))
    tap(page, again=True)
    done(page)
    expect(page.locator(".gs-state")).to_contain_text("8 steps, done")


def test_a_second_tap_on_stop_starts_nothing(url: str, visit: Visit) -> None:
    page = begun(visit(url, width=390, height=844))
    tap(page)
    done(page)
    tap(page, again=True)
    expect(page.locator("#run")).to_be_enabled()
    expect(frames_later(page).locator(".gs-state")).to_contain_text("stopped")
    page.evaluate(BOXES)  # Stop has gone from over Run
    tap(page)  # of its own
    expect(page.locator(".gs-state")).to_contain_text("8 steps, done")


def test_a_late_second_tap_on_stop_meets_no_run(url: str, visit: Visit) -> None:
    """Slower than a double tap, it has a click of its own: Stop stays over Run for a moment, and can't be pressed."""
    page = begun(visit(url, width=390, height=844))
    page.evaluate(MET_AT_THE_END)
    tap(page)
    done(page)
    expect(page.locator("body")).to_have_attribute("data-met", "stop")
    page.evaluate(BOXES)
    assert page.evaluate(MET) == ["run"]
    tap(page)
    expect(page.locator(".gs-state")).to_contain_text("8 steps, done")
