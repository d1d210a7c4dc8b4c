"""On a phone, where the picture takes the whole screen: the text keeps its place in a prediction, beside ten bars and a
point, and beside a fork.
"""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

import app as application
from tests.browser import drawn, frames_later, open_settings, served, tab
from tests.fakes import ScriptedEngine
from tests.page.actions import wait_for_first_run

WORDS = ("beautiful", "continuing", "of", "neighbours", "to", "something", "a", "transformers", "in", "well")
# What stands at the end of the text's own box, and where the screen's lower edge or the fixed player begins.
SEEN = """() => {
    const box = (name) => document.querySelector(name).getBoundingClientRect();
    const text = document.querySelector(".gs-text");
    const chips = [...text.querySelectorAll(".gs-chip")].map((chip) => chip.getBoundingClientRect());
    const { top: upper, bottom: lower } = box(".gs-text");
    const whole = chips.filter(({ top, bottom }) => top >= upper - 1 && bottom <= lower + 1);
    return { text: box(".gs-text").toJSON(), rows: new Set(whole.map((chip) => Math.round(chip.top))).size,
        left: text.scrollHeight - text.clientHeight - text.scrollTop, player: box(".gs-player").top,
        tabs: box("[role=tablist]").bottom, bars: box(".gs-chart").bottom, numbers: box(".gs-numbers").bottom };
}"""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    words = [f" {word}" for word in WORDS]
    script = [{word: 0.5 if place == step else 0.04 for place, word in enumerate(words)} for step in range(len(words))]
    engine = ScriptedEngine(script, words=words, name="starter")
    with served(application.build_app(lambda name, report: engine, ["starter"])) as address:
        yield address


@pytest.fixture(params=["en-US", "ko-KR"])
def phone(browser: Browser, url: str, request: pytest.FixtureRequest) -> Iterator[Page]:
    size = {"width": 390, "height": 844}
    context: BrowserContext = browser.new_context(viewport=size, has_touch=True, is_mobile=True, locale=request.param)  # type: ignore[arg-type]
    page = tab(context)
    page.goto(url)
    yield drawn(page)
    context.close()


def run(page: Page, steps: str, choices: str) -> Page:
    open_settings(page).fill("#steps input", steps)
    page.fill("#choices input", choices)
    page.tap("#run")
    expect(page.locator(".gs-badge")).to_be_hidden()
    expect(page.locator(".gs-chip")).to_have_count(int(steps))
    expect(page.locator("#run")).to_be_enabled()
    return frames_later(page)


def assert_text_is_in_sight(page: Page) -> None:
    """Its end at least: two rows of it."""
    seen = frames_later(page).evaluate(SEEN)
    assert seen["text"]["top"] >= 0
    assert seen["text"]["bottom"] <= seen["player"]
    assert seen["text"]["height"] >= 100
    assert seen["left"] <= 8, "what is to be continued is its end"


def assert_title_is_in_sight(page: Page) -> None:
    """Below the text, which stays at the upper edge."""
    title, text = page.locator(".gs-step-title").bounding_box(), page.locator(".gs-text").bounding_box()
    assert title
    assert text
    assert title["y"] >= text["y"] + text["height"]


@pytest.mark.parametrize("choices", ["5", "10"])
def test_a_prediction_keeps_the_text_in_sight(phone: Page, choices: str) -> None:
    page = run(phone, "12", choices)
    page.locator("#gs-tab-lesson").tap()
    page.locator('.gs-lesson-start [data-predict="start"]').tap()
    for step in range(12):
        expect(page.locator(".gs-guess")).to_be_focused()
        expect(page.locator(".gs-chip")).to_have_count(step)
        assert_text_is_in_sight(page)
        box, text = page.locator(".gs-guess").bounding_box(), page.locator(".gs-text").bounding_box()
        assert box
        assert text
        assert box["y"] >= text["y"] + text["height"], "the text lies on no question"
        assert_title_is_in_sight(page)
        assert box["y"] + box["height"] <= page.evaluate(SEEN)["player"]
        page.locator('[data-guess="0"]').tap()
        expect(page.locator(".gs-chip")).to_have_count(step + 1)
        assert_text_is_in_sight(page)
        assert_title_is_in_sight(page)
        expect(page.locator(".gs-outcome")).to_be_in_viewport(ratio=1)
        score = page.locator(".gs-tally").bounding_box()
        assert score
        assert score["y"] + score["height"] <= page.evaluate(SEEN)["player"]
        if step < 11:
            page.locator('[data-predict="next"]').tap()


def test_ten_bars_and_a_point_leave_two_rows_of_the_text(phone: Page) -> None:
    page = run(phone, "8", "10")
    point = page.locator(".gs-point")
    expect(point).to_be_visible()
    seen = page.evaluate(SEEN)
    assert seen["rows"] >= 2
    assert seen["bars"] < seen["numbers"] < seen["player"]
    assert seen["tabs"] <= seen["player"], "the tabs' names are not behind the player"
    is_whole = "(line) => line.scrollWidth <= line.clientWidth && line.scrollHeight <= line.clientHeight"
    assert point.evaluate("(line) => line.clientHeight / parseFloat(getComputedStyle(line).lineHeight)") < 2, "one line"
    assert not point.evaluate(is_whole)
    point.tap()
    assert frames_later(page).locator(".gs-point").evaluate(is_whole), "a tap opens it"
    assert page.locator(".gs-messages").evaluate("(box) => box.scrollHeight <= box.clientHeight + 1")
    page.locator(".gs-step-title").tap()
    assert not point.evaluate(is_whole)


@pytest.mark.parametrize("choices", ["5", "10"])
def test_a_fork_is_a_picture_below_the_text(phone: Page, choices: str) -> None:
    page = run(phone, "8", choices)
    expect(page.locator(".gs-forks")).to_be_hidden()
    page.locator(".gs-chip").nth(6).tap()
    expect(page.locator(".gs-strip")).to_have_attribute("aria-valuenow", "7")
    page.locator(".gs-column .gs-bar").nth(1).tap()
    page.locator(".gs-fork-here").tap()
    expect(page.locator(".gs-fork")).to_have_count(2)
    expect(page.locator("#run")).to_be_enabled()
    expect(page.locator(".gs-forked")).to_be_visible()
    expect(page.locator(".gs-fork").nth(1)).to_be_in_viewport(ratio=1)
    seen = frames_later(page).evaluate(SEEN)
    assert seen["rows"] >= 2
    assert seen["bars"] <= seen["player"]
    assert page.locator(".gs-messages").evaluate("(box) => box.scrollHeight <= box.clientHeight"), "the note is whole"
    page.locator(".gs-fork").first.tap()
    expect(page.locator(".gs-chip.gs-forced")).to_have_count(0)


@pytest.mark.parametrize("choices", ["5", "10"])
def test_an_error_covers_no_text_and_what_to_press_is_whole(phone: Page, choices: str) -> None:
    page = run(phone, "12", choices)
    page.fill("#prompt textarea", "a prompt of more tokens than there is room for " * 30)
    page.tap("#run")
    problem = page.locator("#problem-prompt p")
    expect(problem).not_to_be_empty()
    for view in ("", "classroom"):
        page.evaluate("(name) => { document.documentElement.className = name; }", view)
        seen = frames_later(page).evaluate(SEEN)
        box = problem.bounding_box()
        assert box
        assert box["y"] + box["height"] <= seen["text"]["top"], view
        cut = page.evaluate("""() => {
            const [box, old] = [".gs-messages", ".gs-old"].map((name) => document.querySelector(name));
            const words = document.createRange();
            words.setStart(old.firstChild, 0);
            words.setEnd(old.firstChild, old.textContent.search(/new one\\.|누르세요\\./));
            const { bottom } = box.getBoundingClientRect();
            return [words.getBoundingClientRect().bottom - bottom, old.getBoundingClientRect().bottom - bottom];
        }""")
        assert max(cut) < 1, "no line is cut, and what to press is said before the rest"


@pytest.mark.parametrize("choices", ["5", "10"])
def test_what_is_said_of_the_temperature_is_whole(phone: Page, choices: str) -> None:
    page = run(phone, "8", choices)
    for key in ("ArrowRight", "Home"):
        page.locator(".gs-heat").press(key)
        below, hidden = frames_later(page).evaluate("""() => {
            const words = document.querySelector(".gs-heat-word");
            const text = document.createRange();
            text.selectNodeContents(words);
            const { bottom } = text.getBoundingClientRect();
            const tabs = document.querySelector("[role=tablist]").getBoundingClientRect().top;
            return [tabs - bottom, bottom - words.getBoundingClientRect().bottom];
        }""")
        assert hidden < 1, "no line of it is cut"
        assert below >= 0, "and it lies on nothing"


def test_of_an_earlier_run_its_fields_are_said_before_a_long_prompt(phone: Page) -> None:
    page = phone
    page.fill("#prompt textarea", "a prompt of many words " * 5)
    page.tap("#run")
    wait_for_first_run(page)
    page.fill("#prompt textarea", "another")
    page.locator(".gs-step-title").tap()
    beyond = (
        frames_later(page)
        .locator(".gs-old")
        .evaluate("""(old) => {
        const words = document.createRange();
        const walk = document.createTreeWalker(old, NodeFilter.SHOW_TEXT);
        while (walk.nextNode() && !walk.currentNode.data.includes("starter"));
        words.selectNodeContents(walk.currentNode);
        words.setEnd(walk.currentNode, walk.currentNode.data.indexOf("starter") + "starter".length);
        return words.getBoundingClientRect().bottom - old.getBoundingClientRect().bottom;
    }""")
    )
    assert beyond < 1


def test_a_tap_shows_all_that_is_said_of_an_earlier_run(phone: Page) -> None:
    """Beside the note of a fork, too, which stands below it then."""
    page = phone
    page.fill("#prompt textarea", "a prompt of many words " * 5)
    page.tap("#run")
    wait_for_first_run(page)
    page.locator(".gs-column .gs-bar").nth(1).tap()
    page.locator(".gs-fork-here").tap()
    expect(page.locator(".gs-forked")).to_be_visible()
    expect(page.locator("#run")).to_be_enabled()
    page.fill("#prompt textarea", "another")
    page.locator(".gs-step-title").tap()
    hidden = """() => {
        const [box, old] = [".gs-messages", ".gs-old"].map((name) => document.querySelector(name));
        const [outer, inner] = [box, old].map((node) => node.getBoundingClientRect());
        const [isBelow, isCut] = [inner.top - outer.top > 6, inner.bottom > outer.bottom + 1];
        return [isBelow, isCut, old.scrollHeight > old.clientHeight];
    }"""
    assert frames_later(page).evaluate(hidden) == [False, False, True], "its first lines are seen"
    page.locator(".gs-old").tap()
    assert frames_later(page).evaluate(hidden) == [False, False, False]


def test_the_links_of_the_head_are_within_the_screen(phone: Page) -> None:
    page = run(phone, "2", "5")
    page.locator('[data-tour="open"]').first.tap()
    page.locator('[data-tour="next"]').tap()
    page.locator('[data-tour="leave"]').tap()  # its link is longer now
    for view in ("", "classroom"):
        page.evaluate("(name) => { document.documentElement.className = name; }", view)
        for width in (390, 320, 195):
            page.set_viewport_size({"width": width, "height": 422})
            links = page.locator(".gs-head .gs-link:visible")
            beyond = frames_later(page).evaluate("document.querySelector('.gs').getBoundingClientRect().right")
            rights = links.evaluate_all("(all) => all.map((link) => link.getBoundingClientRect().right)")
            assert max(rights) <= beyond, (view, width)


@pytest.mark.parametrize("stop", ["softmax", "predict"])
def test_between_the_tours_band_and_its_tab_there_is_no_empty_zone(phone: Page, stop: str) -> None:
    page = run(phone, "12", "5")
    page.locator('.gs-head [data-tour="open"]').tap()
    for _ in range(["softmax", "predict"].index(stop) * 6 + 1):
        page.locator('[data-tour="next"]').tap()
    expect(page.locator(".gs-band")).to_have_count(1)
    empty = frames_later(page).evaluate("""() => {
        const [numbers, tabs] = [".gs-temperature", "[role=tablist]"].map((name) => document.querySelector(name));
        return tabs.getBoundingClientRect().top - numbers.getBoundingClientRect().bottom;
    }""")
    assert empty < 60


def test_the_end_of_the_page_is_above_the_player_and_the_tours_card(phone: Page) -> None:
    phone.locator('.gs-head [data-tour="open"]').tap()
    phone.locator("#gs-tab-whatif").tap()
    frames_later(frames_later(phone)).evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    lowest, card = frames_later(phone).evaluate("""() => {
        const last = document.querySelectorAll('[role="tabpanel"]:not([hidden]), #lead');
        const bottoms = [...last].map((node) => node.getBoundingClientRect().bottom);
        return [Math.max(...bottoms), document.querySelector(".gs-tour").getBoundingClientRect().top];
    }""")
    assert lowest <= card
