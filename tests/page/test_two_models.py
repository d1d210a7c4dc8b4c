"""Two models side by side on one prompt, in a real Chromium, over scripted engines that cut texts into other tokens."""

from collections.abc import Iterator, Sequence

import pytest
from playwright.sync_api import Locator, Page, expect

import app as application
from decoding.errors import ModelError
from tests.browser import Visit, open_settings, served
from tests.fakes import NOTEBOOK, WORDS, Line, ScriptedEngine

SCRIPTS: dict[str, Sequence[Line]] = {
    "left": [{" most": 0.5, " only": 0.25}, {" popular": 0.75}, {" toy": 0.4}, {" 👩‍👩‍👧": 0.6}],
    "right": [{" most": 0.3, " only": 0.25}, {" pop": 0.75}, {"ular": 0.4}, {" toy": 0.4}, {" 👨": 0.5}],
    "twin": NOTEBOOK,
    "brief": [{" most": 0.5}, {" popular": 0.75}, {" toy": 0.4}],
    "other": [{"Z": 0.9}],
}
MODELS = [*SCRIPTS, "broken"]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    def load(name: str, report: object) -> ScriptedEngine:
        if name == "broken":
            raise ModelError("broken could not be loaded. Choose another model.")
        words = (*WORDS, " pop", "ular", " 👨") if name == "right" else WORDS
        return ScriptedEngine(SCRIPTS[name], words=words, name=name)

    with served(application.build_app(load, MODELS)) as address:
        yield address


def run(page: Page, model: str, steps: int) -> None:
    open_settings(page).click("#model input")
    page.get_by_role("listbox").get_by_role("option", name=model, exact=True).click()
    page.fill("#steps input", str(steps))
    page.click("#run")
    expect(page.locator(".gs-model")).to_contain_text(f"{model} · float32")
    expect(page.locator(".gs-state")).to_contain_text("done")
    expect(page.locator("#run")).to_be_enabled()


def beside(page: Page, model: str) -> None:
    page.click("#gs-tab-whatif")
    page.select_option(".gs-beside", model)
    page.click('[data-ask="beside"]')


def compared(page: Page, verdict: str) -> None:
    expect(page.locator(".gs-models")).to_be_visible()
    expect(page.locator(".gs-verdict")).to_have_text(verdict)
    expect(page.locator("#run")).to_be_enabled()
    expect(page.locator(".gs")).to_have_attribute("aria-busy", "false")


def current(page: Page) -> Locator:
    return page.locator('.gs-aligned [aria-current="step"] .gs-chip-text')


PARTED = (
    "The texts are the same for 18 characters, and then they diverge: "
    "left continues with ·👩‍👩‍👧 (60.00 %), "
    "right continues with ·👨 (50.00 %)."
)


def test_steps_are_aligned_by_position_and_the_parting_is_marked(url: str, visit: Visit) -> None:
    page = visit(url)
    run(page, "left", 5)
    beside(page, "right")
    compared(page, PARTED)
    rows = page.locator(".gs-aligned tbody tr")
    cells = [[c.locator(".gs-chip-text").all_inner_texts() for c in row.locator("td").all()] for row in rows.all()]
    assert cells[:3] == [[["·most"], ["·most"]], [["·popular"], ["·pop", "ular"]], [["·toy"], ["·toy"]]]
    assert rows.locator("th").all_inner_texts()[:3] == ["1", "6", "14"]
    expect(page.locator(".gs-state")).to_contain_text("5 steps, done")


def test_both_panels_look_at_the_same_position(url: str, visit: Visit) -> None:
    page = visit(url)
    run(page, "left", 8)
    beside(page, "right")
    compared(page, PARTED)
    expect(page.locator(".gs-parts")).to_have_text(["👩", "👨"])  # whole characters that share their first half
    expect(page.locator(".gs-aligned tr.gs-differs th")).to_have_text("18 ← they diverge")
    sides = page.locator(".gs-side")
    expect(sides.locator("h3")).to_have_text(["Run 2 · left", "Run 3 · right"])
    expect(sides.locator("h4")).to_have_text(["Step 4: ·👩‍👩‍👧", "Step 5: ·👨"])
    expect(sides.locator(".gs-argmax .gs-bar-value")).to_have_text(["60.00 %", "50.00 %"])

    page.locator('.gs-aligned [data-side="0"][data-token="1"]').click()  # left's second step: right's second and third
    expect(page.locator(".gs-model")).to_contain_text("left")
    expect(page.locator(".gs-step-title")).to_have_text("Step 2 of 8: ·popular")
    expect(current(page)).to_have_text(["·popular", "·pop"])
    page.locator('.gs-aligned [data-side="1"][data-token="2"]').focus()
    page.keyboard.press("Enter")
    expect(page.locator(".gs-model")).to_contain_text("right")
    expect(page.locator(".gs-step-title")).to_have_text("Step 3 of 8: ular")
    expect(current(page)).to_have_text(["·popular", "ular"])
    page.wait_for_function("document.activeElement.dataset.token === '2'")  # the keyboard stays where it was
    page.keyboard.press("ArrowRight")
    expect(sides.locator("h4").first).to_have_text("Step 3: ·toy")
    expect(current(page)).to_have_text(["·toy", "·toy"])


@pytest.mark.parametrize(
    ("first", "second", "steps", "verdict"),
    [
        ("twin", "brief", 3, "Both models write the same 17 characters."),
        (
            "twin",
            "other",
            2,
            "The texts diverge at once: twin continues with ·most (50.00 %), other continues with Z (90.00 %).",
        ),
        ("brief", "right", 3, "Both models write the same 13 characters; then Run 3 stops, and Run 2 continues."),
    ],
)
def test_what_is_said_of_two_texts(url: str, visit: Visit, first: str, second: str, steps: int, verdict: str) -> None:
    page = visit(url)
    run(page, first, steps)
    beside(page, second)
    compared(page, verdict)


def test_a_model_that_cannot_be_had_is_said_where_it_was_asked_for(url: str, visit: Visit) -> None:
    page = visit(url)
    run(page, "left", 2)
    beside(page, "broken")
    below = page.locator('section:has([data-ask="beside"]) > .gs-word')
    expect(below).to_have_text("broken could not be loaded. Choose another model.")
    expect(page.locator(".gs-model")).to_contain_text("left")
    expect(page.locator("#run")).to_be_enabled()
    expect(page.locator(".gs")).to_have_attribute("aria-busy", "false")  # the next question may be asked
    beside(page, "right")
    expect(page.locator(".gs-models")).to_be_visible()
    expect(page.locator(".gs-word")).to_have_text("")


def test_on_a_phone_both_stand_side_by_side(url: str, visit: Visit) -> None:
    page = visit(url, width=390, height=844, scheme="dark")
    run(page, "left", 12)
    beside(page, "right")
    compared(page, PARTED)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    table = page.locator(".gs-aligned").bounding_box()
    assert table
    assert table["x"] + table["width"] <= 390


def test_the_run_on_screen_chooses_which_models_are_others(url: str, visit: Visit) -> None:
    page = visit(url)
    options = page.locator(".gs-beside option")
    page.click("#gs-tab-whatif")
    expect(options).to_have_text(MODELS)  # the recorded run is of a model that is not here
    run(page, "left", 2)
    expect(options).to_have_text(MODELS[1:])


def test_with_one_model_there_is_no_other_to_ask(visit: Visit) -> None:
    with served(application.build_app(lambda name, report: ScriptedEngine(name=name), ["starter"])) as address:
        page = visit(address)
        run(page, "starter", 2)
        page.click("#gs-tab-whatif")
        expect(page.locator('[data-ask="own"]')).to_be_visible()
        expect(page.locator('[data-ask="beside"]')).to_be_hidden()
