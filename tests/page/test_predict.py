"""Predict, then reveal, in a real Chromium: what comes is nowhere on the panel before it is guessed."""

import math
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

import app as application
from tests.browser import Visit, frames_later, open_settings, served
from tests.fakes import ScriptedEngine
from tests.page.actions import run_of_three, wait_for_first_run


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served(application.build_app(lambda name, report: ScriptedEngine(), ["scripted"])) as address:
        yield address


def predicting(visit: Visit, url: str, **options: object) -> Page:
    """The page with a run of three steps and three choices, nothing of which is seen any more."""
    page = open_settings(visit(url, **options))
    run_of_three(page)
    page.click("#gs-tab-lesson")
    page.click('[data-predict="start"]')
    expect(page.locator(".gs-guess")).to_be_focused()
    return page


def guess(page: Page, text: str) -> None:
    """By keyboard alone: the field has the focus, and the next step's button then gets it."""
    page.keyboard.type(text)
    page.keyboard.press("Enter")
    expect(page.locator('[data-predict="next"], [data-predict="stop"]').and_(page.locator(":focus"))).to_be_visible()


def everything(page: Page) -> str:
    """All that a reader, a pointer or a screen reader could find on the panel."""
    panel = page.locator("#panel .gs")
    names = """root => [...root.querySelectorAll('*')].filter((node) => node.checkVisibility())
        .map((node) => [...node.attributes].map(({ value }) => value))"""
    return f"{panel.inner_text()}\n{panel.aria_snapshot()}\n{panel.evaluate(names)}"


def tally(page: Page) -> list[list[str]]:
    return page.locator(".gs-tally tbody tr").evaluate_all(
        "rows => rows.map((row) => [...row.querySelectorAll('td')].map((cell) => cell.textContent))"
    )


def test_a_round_by_keyboard_with_its_score(url: str, visit: Visit) -> None:
    page = predicting(visit, url)
    outcome = page.locator(".gs-outcome")
    page.keyboard.press("Enter")
    expect(outcome).to_have_text("Type a token first, or choose one of the candidates.")
    guess(page, "only")
    expect(outcome).to_have_text("“·only” is rank 2, 25.00 %. The text continues with “·most”, 50.00 %.")
    expect(page.locator(".gs-mine")).to_have_text(" ◆ your guess")
    expect(page.locator(".gs-step-title")).to_have_text("Step 1: ·most")
    page.keyboard.press("Enter")
    options = page.locator("[data-guess]")
    expect(options).to_have_count(3)
    expect(page.locator(".gs-guess")).to_be_focused()
    for option in options.all():
        page.keyboard.press("ArrowDown")
        expect(option).to_be_focused()
    page.keyboard.press("ArrowUp")
    expect(options.nth(1)).to_be_focused()
    for _ in range(2):
        page.keyboard.press("ArrowUp")
    guess(page, "popular")
    expect(outcome).to_contain_text("Right: “·popular” is what the model writes. Rank 1, 75.00 %.")
    page.keyboard.press("Enter")
    guess(page, "banana")  # none of the three: what is known of it are bounds
    beyond = "“banana” is not among the candidates that the run kept: rank 4 or lower, 10.00 % at most."
    expect(outcome).to_contain_text(beyond)
    expect(outcome).to_contain_text("The text continues with “·toy”, 40.00 %. That was the last step.")
    bits = (2 + math.log2(4 / 3) + math.log2(10)) / 3, (1 + math.log2(4 / 3) - math.log2(0.4)) / 3
    assert tally(page) == [["≥ 2.33", "67 %", f"≥ {bits[0]:.2f}"], ["1.00", "100 %", f"{bits[1]:.2f}"]]
    expect(page.locator('[data-predict="next"]')).to_be_disabled()
    page.keyboard.press("Enter")  # the focus is on the way out
    expect(page.locator(".gs-state")).to_contain_text("3 steps, done")
    expect(page.locator("#gs-tab-compare")).to_be_enabled()


BARS = """() => {
    const tracks = [...document.querySelectorAll(".gs-bars .gs-bar-track")].slice(0, 3);
    const isListed = tracks.every((track) => getComputedStyle(track).visibility === "visible");
    const isPlotted = getComputedStyle(document.querySelector(".gs-plot .bars")).visibility === "visible";
    const listed = tracks.map((track) => 100 * Number(getComputedStyle(track).getPropertyValue("--p")));
    const plotted = document.querySelector(".gs-plot").data[0].x.slice(0, 3);
    return [isListed ? listed : null, isPlotted ? plotted : null].filter(Boolean)
        .map((bars) => bars.map((percent) => Number(percent.toFixed(2))));
}"""


def check_bars(page: Page) -> None:
    """The bars on screen, which the list or Plotly draws, are as long as the numbers beside them say."""
    said = [float(text.split(" %")[0]) for text in page.locator(".gs-bar-value").all_inner_texts()[:3]]
    assert page.evaluate(BARS) == [said]


def test_the_bars_are_those_of_the_step_that_is_revealed(url: str, visit: Visit) -> None:
    page = predicting(visit, url)
    for title in ("Step 1: ·most", "Step 2: ·popular"):
        guess(page, "only")
        expect(page.locator(".gs-step-title")).to_have_text(title)
        check_bars(page)
        page.keyboard.press("Enter")
    page.click('[data-predict="stop"]')  # with a step that is hidden
    expect(page.locator(".gs-state")).to_contain_text("3 steps, done")
    check_bars(page)


def test_all_bars_of_a_step_are_there_at_once_however_many_are_in_sight(url: str, visit: Visit) -> None:
    """The question leaves the chart little height, which it gets back with the answer."""
    page = visit(url, height=720)
    page.fill("#choices input", "10")
    page.click("#run")
    wait_for_first_run(page)
    page.click("#gs-tab-lesson")
    page.click('[data-predict="start"]')
    page.keyboard.press("Escape")  # out of the field
    page.keyboard.press("c")
    expect(page.locator(".gs-classroom")).to_be_visible()
    for title in ("Step 1: ·most", "Step 2: ·popular", "Step 3: ·toy"):
        page.click('[data-guess="0"]')
        expect(page.locator(".gs-step-title")).to_have_text(title)
        labels = page.locator(".gs-bar-label").all_text_contents()
        assert title.endswith(labels[0].removeprefix("▸ "))
        assert len(set(labels)) == len(labels)
        page.click('[data-predict="next"]')


def test_who_is_faster_than_the_drawing_has_guessed(url: str, visit: Visit) -> None:
    page = visit(url)
    page.fill("#steps input", "3")
    page.click("#run")
    expect(page.locator(".gs-state")).to_contain_text("3 steps, done")
    page.click("#gs-tab-lesson")
    page.evaluate("""() => {
        document.querySelector('[data-predict="start"]').click();
        const field = document.querySelector(".gs-guess");
        field.value = "most";
        field.form.requestSubmit();
    }""")
    expect(page.locator(".gs-outcome")).to_have_text("Right: “·most” is what the model writes. Rank 1, 50.00 %.")
    page.click('[data-predict="next"]')
    page.evaluate("""() => {  // pressed twice within a drawing: the second press guesses nothing, and fails at nothing
        const [option] = document.querySelectorAll("[data-guess]");
        option.click();
        option.click();
        document.querySelector('[data-predict="reveal"]').click();
    }""")
    expect(page.locator(".gs-state")).to_contain_text("Predicting: 2 revealed")


def test_what_comes_is_nowhere(url: str, visit: Visit) -> None:
    page = predicting(visit, url)
    for tab in ("table", "lesson"):
        page.click(f"#gs-tab-{tab}")
        expect(frames_later(page).locator(f"#gs-page-{tab}")).to_be_visible()
        assert "popular" not in everything(page)
        assert "toy" not in everything(page)
        assert "50.00" not in everything(page)  # no probability of the candidates that are shown
    for name in ("whatif", "compare", "keep"):
        expect(page.locator(f"#gs-tab-{name}")).to_be_disabled()
    for key in ("End", "ArrowRight", " "):  # no key goes on without a guess
        page.locator(".gs").focus()
        page.keyboard.press(key)
        expect(page.locator(".gs-step-title")).to_have_text("Step 1: what comes next?")
    page.locator(".gs").focus()
    page.keyboard.press("2")  # the second of the candidates, which are shuffled
    expect(page.locator(".gs-chip")).to_have_count(1)
    assert "popular" not in everything(page)
    page.locator(".gs-bars button").nth(1).click()  # no branch, which would show more
    page.click('[data-predict="next"]')
    expect(page.locator(".gs-step-title")).to_have_text("Step 2: what comes next?")
    page.wait_for_url("**run=*")  # the address goes on naming the whole run
    page.click("#run")  # a run that begins now is hidden as well
    expect(page.locator(".gs-step-title")).to_have_text("Step 1: what comes next?")
    expect(page.locator("#run")).to_be_enabled()
    expect(page.locator(".gs-chip")).to_have_count(0)
    assert "popular" not in everything(frames_later(page))


def test_a_class_that_raises_its_hands(url: str, visit: Visit) -> None:
    page = predicting(visit, url, width=390, height=844)
    page.check(".gs-hands")
    expect(page.locator(".gs-hands")).to_have_css("appearance", "auto")  # the tick is drawn over no background of ours
    page.locator("[data-guess]", has_text="·best").dblclick()
    page.get_by_label("Hands for “·most”").fill("7")
    page.get_by_label("Hands for “·only”").fill("9")
    page.click('[data-predict="reveal"]')
    expect(page.locator(".gs-outcome")).to_contain_text("“·only” is rank 2, 25.00 %.")
    expect(page.locator(".gs-mine")).to_have_text(["✋ 7", "✋ 9", "✋ 2"])
    expect(page.locator(".gs-tally tbody th").first).to_have_text("The class")
    assert tally(page)[0] == ["2.00", "100 %", "2.00"]
    page.keyboard.press("Enter")
    expect(page.locator("[data-guess]").first).to_be_focused()
    page.click('[data-predict="reveal"]')  # nobody raised a hand
    expect(page.locator(".gs-outcome")).to_have_text("Nobody guessed. The text continues with “·popular”, 75.00 %.")
    assert tally(page)[0] == ["2.00", "100 %", "2.00"]
    page.keyboard.press("Enter")
    for token in ("·toy", "·line"):
        page.get_by_label(f"Hands for “{token}”").fill("3")
    page.click('[data-predict="reveal"]')
    tied = "Two or more candidates have the most hands, so no guess counts. The text continues with “·toy”, 40.00 %."
    expect(page.locator(".gs-outcome")).to_contain_text(tied)
    assert tally(page)[0] == ["2.00", "100 %", "2.00"]
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
