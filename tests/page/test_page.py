"""The page in a real Chromium over a scripted engine: what it shows, how it is moved through, and what it refuses."""

import json
import re
import threading
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

import app as application
from decoding.assets import ASSETS, RECORDED
from decoding.errors import ModelError
from decoding.i18n import translate
from tests.browser import Visit, drawn, frames_later, open_settings, served, tab
from tests.fakes import ScriptedEngine
from tests.waiting import until

PHONE = {"width": 390, "height": 844}


class Served:
    """A page over a scripted engine, made ready for each test; the model "broken" cannot be loaded."""

    def __init__(self) -> None:
        self.engine = ScriptedEngine(context_length=64)
        self.url = ""

    def load(self, name: str, report: object) -> ScriptedEngine:
        if name == "broken":
            raise ModelError("broken could not be loaded. Choose another model.")
        return self.engine


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    there = Served()
    with served(application.build_app(there.load, ["scripted", "broken"])) as there.url:
        yield there


@pytest.fixture
def page_over(server: Served) -> Served:
    server.engine.__init__(context_length=64)  # type: ignore[misc]
    return server


def run(page: Page, prompt: str = "Transformers are the", steps: str = "6", choices: str = "3") -> None:
    open_settings(page).fill("#prompt textarea", prompt)
    page.fill("#steps input", steps)
    page.fill("#choices input", choices)
    page.click("#run")


def test_before_any_model_is_ready_a_recorded_run_is_shown_and_marked(visit: Visit):
    ready = threading.Event()

    def loader(name: str, report: object) -> ScriptedEngine:
        ready.wait(600)
        return ScriptedEngine()

    with served(application.build_app(loader, ["scripted"])) as url:
        try:
            page = visit(url)
            expect(page.locator(".gs-badge")).to_have_text("Recorded")
            expect(page.locator(".gs-step-title")).to_have_text("Step 1 of 8: ·most")
            expect(page.locator("#notice")).to_have_text("Loading scripted …")
        finally:
            ready.set()
        expect(page.locator("#notice")).to_be_hidden()


def test_a_model_that_never_comes_leaves_a_page_that_replays(visit: Visit):
    def loader(name: str, report: object) -> ScriptedEngine:
        raise ModelError("The starter model is not here and cannot be fetched. Be online once.")

    with served(application.build_app(loader, ["starter"])) as url:
        page = visit(url)
        expect(page.locator("#problem-model")).to_contain_text("The starter model is not here and cannot be fetched.")
        expect(page.locator("#notice")).to_be_hidden()
        page.get_by_text(translate("recorded.gpt2_xl_notebook_table")).click()
        expect(page.locator(".gs-model")).to_have_text("gpt2-xl · as printed")
        page.keyboard.press("End")
        expect(page.locator(".gs-step-title")).to_have_text("Step 8 of 8: ,")


def test_the_notebooks_table_opens_as_printed(page_over: Served, visit: Visit):
    page = visit(page_over.url)
    page.get_by_text(translate("recorded.gpt2_xl_notebook_table")).click()
    expect(page.locator(".gs-model")).to_have_text("gpt2-xl · as printed")
    cells = page.locator(".gs-table tbody tr").nth(3).locator("td")
    expect(cells.nth(0)).to_have_text("·line (34.38 %) no id")
    expect(cells.nth(4)).to_have_text("line (2.69 %) no id")


def test_a_run_grows_and_ends(page_over: Served, visit: Visit):
    page = visit(page_over.url)
    run(page)
    expect(page.locator(".gs-state")).to_contain_text("6 steps, done · log-probability −3.794")
    expect(page.locator(".gs-badge")).to_be_hidden()
    chips = page.locator(".gs-chip .gs-chip-text")
    expect(chips).to_have_text(["·most", "·popular", "·toy", "·most", "·popular", "·toy"])
    expect(page.locator("#run")).to_be_enabled()
    expect(page.locator("#stop")).to_be_disabled()


def test_the_same_request_again_is_another_run(page_over: Served, visit: Visit):
    page = visit(page_over.url)
    for made in (2, 3):
        run(page)  # all its steps are there at once
        page.locator("#gs-tab-compare").press("Enter")
        expect(page.locator(".gs-list tr[aria-current] td").first).to_have_text(f"Run {made}")
        expect(page.locator("#run")).to_be_enabled()


def test_keys_walk_through_the_steps_but_not_while_typing(page_over: Served, visit: Visit):
    page = visit(page_over.url)
    title = page.locator(".gs-step-title")
    for key, step in [("End", 8), ("ArrowLeft", 7), ("Home", 1), ("ArrowRight", 2), ("ArrowLeft", 1), ("ArrowLeft", 1)]:
        page.keyboard.press(key)
        expect(title).to_contain_text(f"Step {step} of 8")
    run(page, steps="40")  # so long that it is not played to its end before it is paused
    expect(title).to_contain_text("Step 40 of 40")
    expect(page.locator("#run")).to_be_enabled()
    play = page.locator('[data-go="play"]')
    page.locator(".gs").focus()
    page.keyboard.press("Space")
    expect(play).to_have_attribute("aria-label", "Pause")
    expect(title).to_contain_text(re.compile(r"Step ([3-9]|[123]\d) of 40"))
    page.keyboard.press("Space")
    expect(play).to_have_attribute("aria-label", "Play")
    page.keyboard.press("ArrowLeft")
    before = frames_later(page).locator(".gs-step-title").inner_text()
    page.click("#prompt textarea")
    for key in ("Home", "ArrowRight", "Space"):
        page.keyboard.press(key)
    expect(page.locator("#prompt textarea")).to_have_value("T ransformers are the")
    expect(frames_later(page).locator(".gs-step-title")).to_have_text(before)
    expect(play).to_have_attribute("aria-label", "Play")


def test_a_click_on_a_token_the_strip_or_a_row_goes_there(page_over: Served, visit: Visit):
    page = visit(page_over.url)
    title = page.locator(".gs-step-title")
    page.locator(".gs-chip").nth(4).click()
    expect(title).to_contain_text("Step 5 of 8")
    box = page.locator(".gs-strip").bounding_box()
    assert box
    page.mouse.click(box["x"] + box["width"] * 2.5 / 8, box["y"] + 3)
    expect(title).to_contain_text("Step 3 of 8")
    page.locator(".gs-table tbody tr").nth(6).locator("th").click()
    expect(title).to_contain_text("Step 7 of 8")
    expect(page.locator(".gs-strip")).to_have_attribute("aria-valuetext", "Step 7 of 8: ·new, 6.54 %")


def test_fifty_scrubs_make_no_request(page_over: Served, visit: Visit):
    page = visit(page_over.url)
    run(page)
    expect(page.locator(".gs-state")).to_contain_text("6 steps, done")
    expect(page.locator("#run")).to_be_enabled()
    page.mouse.move(0, 0)
    page.locator(".gs-chip").first.click()
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    for n in range(50):
        page.keyboard.press("ArrowRight" if n % 10 < 5 else "ArrowLeft")
    page.get_by_role("tab", name="Help").click()
    expect(page.locator(".gs-reading")).to_be_visible()
    assert requests == []  # looking is local


def second_step(page: Page) -> None:
    """Wait until a run that goes on shows its second step."""
    page.wait_for_selector(".gs-running .gs-chip:nth-of-type(2)")


def begun_at_last(engine: ScriptedEngine) -> int:
    """The steps begun, once the run is closed, after which there are no more."""
    for _ in range(6000):
        if engine.closed:
            break
        threading.Event().wait(0.01)
    assert engine.closed == 1
    return engine.begun


def test_while_text_streams_in_the_list_draws_the_bars_and_then_plotly_does(page_over: Served, visit: Visit):
    page = visit(page_over.url)
    run(page, choices="5")  # as many as are on screen, so that Plotly's axis fits
    expect(page.locator(".gs-state")).to_contain_text("6 steps, done")
    page_over.engine.delay = 0.5
    page_over.engine.context_length = None
    run(page, choices="5", steps="256")
    page.wait_for_selector(".gs-live")
    expect(page.locator(".gs-plot .bars")).to_have_css("visibility", "hidden")
    expect(page.locator(".gs-bar-track").first).to_have_css("visibility", "visible")
    page.click("#stop")
    expect(page.locator(".gs-plot .bars")).to_have_css("visibility", "visible")
    expect(page.locator(".gs-bar-track").first).to_have_css("visibility", "hidden")
    shown = page.evaluate("document.querySelector('.gs-plot').data[0].x[0].toFixed(2)")
    expect(page.locator(".gs-bar-value").first).to_contain_text(f"{shown} %")
    begun_at_last(page_over.engine)


def test_stop_ends_the_run_within_a_step(page_over: Served, visit: Visit):
    page_over.engine.delay = 0.5
    page_over.engine.context_length = None
    page = visit(page_over.url)
    run(page, steps="256")
    second_step(page)
    with page.expect_response("**/reset"):  # before its answer, Gradio takes the next run for this one
        with page.expect_response("**/cancel"):
            page.click("#stop")
        begun = page_over.engine.begun
    expect(page.locator(".gs-state")).to_contain_text("steps, stopped")
    expect(page.locator("#run")).to_be_enabled()
    assert begun_at_last(page_over.engine) <= begun + 1  # the step under way when the server heard of it, and no other
    page_over.engine.delay = 0
    run(page, steps="2")
    expect(page.locator(".gs-state")).to_contain_text("2 steps, done")


def test_a_stopped_run_does_not_grow_where_the_server_does_not_hear_of_it(page_over: Served, visit: Visit):
    page_over.engine.delay = 0.2
    page = visit(page_over.url)
    page.route("**/cancel", lambda route: route.fulfill(json={"success": True}))  # the server hears nothing of it
    page.fill("#steps input", "40")
    page.click("#run")
    expect(page.locator(".gs-state")).to_contain_text(re.compile(r"Step \d+ of 40"))
    page.click("#stop")
    state = page.locator(".gs-state")
    expect(state).to_contain_text(", stopped")
    stopped, begun = state.text_content(), page_over.engine.begun
    until(lambda: page_over.engine.begun > begun + 4)
    page_over.engine.delay = 0
    expect(page.locator("#run")).to_be_enabled()
    assert state.text_content() == stopped
    run(page, steps="2")
    expect(state).to_contain_text("2 steps, done")


def test_stop_ends_the_run_from_the_moment_that_it_can_be_pressed(page_over: Served, visit: Visit):
    page_over.engine.delay = 0.5
    page_over.engine.context_length = None
    page = visit(page_over.url)
    page.route(
        "**/cancel", lambda route: (threading.Event().wait(0.3), route.continue_())
    )  # its first line comes before
    page.fill("#steps input", "256")
    for _ in range(3):
        with page.expect_response("**/reset"):  # before its answer, Gradio takes the next run for this one
            page.evaluate("""() => {
                document.querySelector("#run").click();
                const stop = document.querySelector("#stop");
                const press = () => (stop.disabled ? setTimeout(press, 1) : stop.click());
                press();
            }""")
        expect(page.locator(".gs-state")).to_contain_text("0 steps, stopped")
        expect(page.locator("#run")).to_be_enabled()
        expect(page.locator("#stop")).to_be_disabled()
    until(lambda: all(thread.name != "run" for thread in threading.enumerate()))
    assert page_over.engine.begun <= 6  # of 768


def test_no_bar_of_another_run_is_seen_where_none_has_come(page_over: Served, visit: Visit):
    page = visit(page_over.url)
    run(page, steps="2")
    expect(page.locator(".gs-state")).to_contain_text("2 steps, done")
    page_over.engine.delay = 30
    run(page, prompt="Something else", steps="2")
    expect(page.locator(".gs-empty")).to_be_attached()
    page.click("#stop")
    page_over.engine.let_go.set()
    expect(page.locator(".gs-state")).to_contain_text("0 steps, stopped")
    seen = page.locator(".gs-chart *").evaluate_all(
        "nodes => nodes.filter((node) => node.checkVisibility({ visibilityProperty: true })).length"
    )
    assert seen == 0


def test_a_reload_in_mid_run_stops_it_and_begins_it_again(page_over: Served, browser: Browser):
    page_over.engine.delay = 0.5
    page_over.engine.context_length = None
    page = tab(browser)  # not `visit`: Gradio's script complains of the connection that the reload cuts
    page.goto(page_over.url)
    run(drawn(page), steps="256")
    second_step(page)
    page.reload()
    begun = begun_at_last(page_over.engine)
    assert begun < 256
    until(lambda: page_over.engine.begun >= begun + 2)  # the same run, which the address names
    with page.expect_response("**/cancel"):
        page.click("#stop")
    page.close()


def test_back_and_forward_after_a_reload_in_mid_run_show_the_run_that_goes_on(page_over: Served, browser: Browser):
    page_over.engine.delay = 0.3
    page_over.engine.context_length = None
    page = tab(browser)
    page.goto(page_over.url)
    run(drawn(page), steps="256")
    second_step(page)
    page.reload()
    expect(page.locator(".gs-state")).to_contain_text("of 256 …")  # the recorded run is there before it
    page.go_back()
    expect(page.locator(".gs-state")).to_contain_text("is still being written")
    page.go_forward()
    page.click("#stop")
    page.wait_for_timeout(1500)  # in which a run that is asked for once more begins
    expect(page.locator(".gs-state")).to_contain_text(re.compile(r"^\d+ steps?, stopped"))
    expect(page.locator("#run")).to_be_enabled()
    page.close()


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("steps", "0", "The number of steps has to be a whole number from 1 to 256, not 0."),
        ("steps", "2.5", "The number of steps has to be a whole number from 1 to 256, not 2.5."),
        ("choices", "51", "The number of choices has to be a whole number from 1 to 50, not 51."),
        ("prompt", "a\0b", "Character 2 of the prompt is a NUL (U+0000): that is not text. Delete it."),
        ("prompt", "x" * 100_000, "The prompt has 100,000 characters; at most 50,000 are read. Shorten it."),
        (
            "prompt",
            "x" * 60,
            "The prompt is 60 tokens long; if the number of steps is 6, scripted has room for 58 (its context is 64).",
        ),
    ],
)
def test_bad_input_gets_a_sentence_beside_its_field(
    page_over: Served, visit: Visit, field: str, value: str, sentence: str
):
    page = visit(page_over.url)
    run(page, **{field: value})
    expect(page.locator(f"#problem-{field}")).to_contain_text(sentence)
    expect(page.locator(".gs-step-title")).to_have_text("Step 1 of 8: ·most")  # what was on screen stays
    assert page_over.engine.begun == 0
    run(page)
    expect(page.locator(".gs-state")).to_contain_text("6 steps, done")
    expect(page.locator(f"#problem-{field}")).to_be_hidden()


def test_a_model_that_cannot_be_had_is_said_beside_the_model(page_over: Served, visit: Visit):
    page = visit(page_over.url)
    page.click("#model input")
    page.get_by_role("option", name="broken").click()
    run(page)
    expect(page.locator("#problem-model")).to_have_text("broken could not be loaded. Choose another model.")
    expect(page.locator(".gs-badge")).to_have_text("Recorded")


def test_every_example_fills_every_field(page_over: Served, visit: Visit):
    page = visit(page_over.url)
    for example in json.loads((ASSETS / "examples.json").read_text("utf-8")):
        page.fill("#prompt textarea", "")
        page.get_by_role("button", name=translate(f"example.{example['name']}"), exact=True).click()
        expect(page.locator("#prompt textarea")).to_have_value(str(example["prompt"]))
        expect(page.locator("#steps input")).to_have_value(str(example["steps"]))
        expect(page.locator("#choices input")).to_have_value(str(example["choices"]))


def test_on_a_phone_nothing_scrolls_sideways(page_over: Served, visit: Visit):
    page = visit(page_over.url, **PHONE)
    for name in RECORDED:
        page.get_by_text(translate(f"recorded.{name}"), exact=True).click()
        expect(page.locator(".gs-plotted")).to_be_visible()
        expect(page.locator(".gs-model")).to_contain_text("gpt2-xl" if "gpt2" in name else "starter")
        assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    run(page, prompt="x" * 40, choices="50")
    expect(page.locator(".gs-state")).to_contain_text("6 steps, done")
    assert frames_later(page).evaluate("document.documentElement.scrollWidth") == PHONE["width"]


def test_without_plotly_the_list_of_candidates_is_there(page_over: Served, browser: Browser):
    page = tab(browser)
    page.route("**/scripts/plotly-*.js", lambda route: route.abort())
    page.goto(page_over.url)
    rows = page.locator(".gs-bar")
    expect(rows).to_have_count(6)
    expect(rows.nth(0)).to_contain_text("▸ ·most8.26 % 768")
    expect(rows.nth(0)).to_be_visible()
    assert page.locator(".gs-plotted").count() == 0
    page.close()
