"""The guided tour in a real Chromium, taken as a student would: from its first stop to the end of a predict round."""

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

import app as application
from decoding.assets import ASSETS
from decoding.i18n import translate
from tests.browser import Visit, drawn, frames_later, open_settings, served, tab
from tests.fakes import ScriptedEngine
from tests.page.tour_student import STOPS, Student, covered

EXAMPLES = {each["name"]: each["prompt"] for each in json.loads((ASSETS / "examples.json").read_text("utf-8"))}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    engine = ScriptedEngine(name="starter")  # the model for which the examples make their points
    with served(application.build_app(lambda name, report: engine, ["starter"])) as address:
        yield address


IN_SIGHT = """() => {
    const box = (node) => node.getBoundingClientRect();
    const seen = (node, least) => {
        const { top, bottom } = box(node);
        const edge = Math.min(innerHeight, box(document.querySelector(".gs-tour")).top);
        return Math.min(bottom, edge) - Math.max(top, 0) >= Math.min(least, bottom - top) - 1;
    };
    return { text: seen(document.querySelector(".gs-text"), 60),
        all: [...document.querySelectorAll(".gs-toured")].filter((part) => !seen(part, 300))
            .map((part) => part.id || part.className) };
}"""


# The text's band at the upper edge lies beside the bars where they stand beside the text.
HIDES_BARS = """() => {
    const [text, bars] = [...document.querySelectorAll(".gs-column")].map((column) => column.getBoundingClientRect());
    return innerWidth > 760 && text.right > bars.left;
}"""


@pytest.mark.parametrize(
    ("language", "width", "height"), [("en", 1280, 720), ("ko", 1440, 900), ("en", 1920, 1080), ("ko", 390, 844)]
)
def test_a_student_takes_the_tour(url: str, visit: Visit, language: str, width: int, height: int) -> None:
    page = visit(f"{url}?language={language}", width=width, height=height)
    student = Student(page, language)
    student.run(6)
    page.locator(".gs-chip").first.click()
    page.locator('.gs-head [data-tour="open"]').press("Enter")
    student.at(1, "probabilities")
    page.keyboard.press("ArrowRight")
    student.go_on()
    student.at(2, "softmax")
    page.click("#gs-tab-lesson")
    page.locator('.gs-softmax button[data-part="sum"]').focus()
    student.go_on()
    student.at(3, "argmax")
    page.locator(".gs-heat").press("ArrowRight")
    student.go_on()
    student.at(4, "again")
    page.keyboard.press(" ")
    student.go_on()
    student.at(5, "product")
    page.keyboard.press("End")
    student.go_on()
    student.at(6, "fork")
    page.click("#gs-tab-whatif")
    page.click('[data-ask="closest"]')
    student.go_on()
    student.at(7, "repeats")
    page.click("#example-repeats")
    expect(page.locator("#prompt textarea")).to_have_value(EXAMPLES["repeats"])
    student.run(40)
    expect(page.locator(".gs-point")).to_have_text(student.translate("point.repeats"))
    assert covered(page) == [], "the tab that it names"
    page.click("#gs-tab-whatif")
    assert covered(page) == [], "and what is meant in it"
    expect(page.locator(".gs-loops")).to_be_in_viewport()
    cut = "(all) => all.filter((label) => label.scrollWidth > label.clientWidth).length"
    assert page.locator(".gs-repeats .gs-bar-label").evaluate_all(cut) == 0
    student.go_on()
    student.at(8, "predict")
    student.run(2)
    page.click("#gs-tab-lesson")
    page.locator('.gs-lesson-start [data-predict="start"]').press("Enter")
    page.keyboard.type("most")
    page.keyboard.press("Enter")
    right = student.translate("predict.right", guess="·most", rank=1, share="50.00 %")
    expect(page.locator(".gs-outcome")).to_have_text(right)
    page.keyboard.press("Enter")
    page.locator("[data-guess]", has_text="·popular").press("Enter")
    right = student.translate("predict.right", guess="·popular", rank=1, share="75.00 %")
    expect(page.locator(".gs-outcome")).to_have_text(f"{right} {student.translate('predict.over')}")
    expect(page.locator(".gs-tally tbody tr")).to_have_count(2)
    page.locator('[data-predict="stop"]').press("Enter")
    expect(page.locator('[data-tour="next"]')).to_have_text(student.translate("tour.finish"))
    student.go_on()
    expect(page.locator(".gs-tour")).to_be_hidden()
    expect(page.locator(".gs-toured")).to_have_count(0)
    expect(page.locator('.gs-head [data-tour="open"]')).to_have_text(student.translate("tour.start"))
    assert frames_later(page).evaluate("document.documentElement.scrollWidth") <= width


def test_it_can_be_left_and_resumed(url: str, visit: Visit) -> None:
    page = visit(url)
    page.locator('.gs-head [data-tour="open"]').click()
    for _ in range(2):
        page.click('[data-tour="next"]')
    expect(page.locator(".gs-tour-title")).to_have_text(translate("tour.argmax"))
    page.locator('[data-tour="leave"]').click()
    expect(page.locator(".gs-tour")).to_be_hidden()
    drawn(page.reload() and page)
    resume = page.locator('.gs-head [data-tour="open"]')
    expect(resume).to_have_text("Continue the tour (3 of 8)")
    resume.click()
    expect(page.locator(".gs-tour-title")).to_have_text(translate("tour.argmax"))
    page.click('[data-tour="back"]')
    expect(page.locator(".gs-tour-title")).to_have_text(translate("tour.softmax"))
    page.keyboard.press("Escape")
    expect(page.locator(".gs-tour")).to_be_hidden()
    expect(resume).to_be_focused()


def test_where_there_are_no_keys_it_names_none(url: str, browser: Browser) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = tab(context)
    page.goto(url)
    drawn(page).locator('.gs-head [data-tour="open"]').tap()
    tasks = []
    for stop in range(STOPS):
        expect(page.locator(".gs-tour-place")).to_have_text(translate("tour.place", place=stop + 1, total=STOPS))
        tasks.append(page.locator(".gs-tour-task").inner_text())
        assert covered(page) == [], tasks[-1]
        page.locator('[data-tour="next"]').tap()
    assert len(set(tasks)) == STOPS
    keys = [key for key in ("→", "End key", "Tab key", "space bar") for task in tasks if key in task]
    assert keys == []
    assert "→" in translate("tour.probabilities.task"), "elsewhere it names them"
    context.close()


@pytest.mark.parametrize(
    ("width", "height", "view"),
    [(1280, 720, ""), (1280, 720, "classroom"), (1440, 900, ""), (1440, 900, "classroom"), (390, 844, "")],
)
def test_the_text_is_in_sight_at_every_stop(url: str, visit: Visit, width: int, height: int, view: str) -> None:
    """Where the text cannot be whole above the card, its last lines."""
    page = visit(url, width=width, height=height)
    open_settings(page).fill("#choices input", "10")
    student = Student(page, "en")
    student.run(40)
    if view:
        page.locator(".gs-strip").press("c")
    page.locator('.gs-head [data-tour="open"]').press("Enter")
    tabs = {"softmax": "lesson", "product": "lesson", "fork": "whatif", "predict": "lesson"}
    for name in ("probabilities", "softmax", "argmax", "again", "product", "fork", "repeats", "predict"):
        expect(page.locator(".gs-tour-title")).to_have_text(translate(f"tour.{name}"))
        for _ in range(2):
            assert frames_later(page).evaluate(IN_SIGHT)["text"], name
            assert covered(page) == [], name
            assert not page.evaluate(HIDES_BARS), name
            if name in tabs and page.locator(f"#gs-tab-{tabs[name]}").get_attribute("aria-selected") == "false":
                page.locator(f"#gs-tab-{tabs[name]}").press("Enter")
        if name == "repeats":  # the text may be seen in part
            assert page.evaluate(IN_SIGHT)["all"] == [], "the example and Run are there to be pressed"
        if name == "predict":
            page.locator('.gs-lesson-start [data-predict="start"]').press("Enter")
            assert frames_later(page).evaluate(IN_SIGHT)["text"]
            expect(page.locator(".gs-guess")).to_be_in_viewport(ratio=1)
            page.locator('[data-guess="0"]').press("Enter")
            assert frames_later(page).evaluate(IN_SIGHT)["text"]
        page.locator('[data-tour="next"]').press("Enter")
    expect(page.locator(".gs-band")).to_have_count(0)


def test_a_stop_is_not_done_by_the_one_before(url: str, visit: Visit) -> None:
    """Play may have gone to the last step already, which the stop about the product asks for."""
    page = visit(url, height=720)
    student = Student(page, "en")
    student.run(3)
    page.click("#gs-tab-lesson")
    page.locator('.gs-head [data-tour="open"]').click()
    for _ in range(3):
        page.click('[data-tour="next"]')
    page.locator(".gs-strip").press("Home")
    page.keyboard.press(" ")
    expect(page.locator(".gs-strip")).to_have_attribute("aria-valuenow", "3")
    student.go_on()
    student.at(5, "product")
    page.keyboard.press("End")
    expect(page.locator(".gs-tour-status")).to_have_text(translate("tour.done"))
