"""Who else can use the page: axe-core finds nothing in any state; by keyboard, by ear, from far off, without motion."""

from collections.abc import Callable, Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

import app as application
from decoding.i18n import translate
from tests.browser import Visit, drawn, frames_later, open_settings, served, tab
from tests.fakes import ScriptedEngine

WIDTHS = (1440, 390)
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
EVERY = {"runOnly": {"type": "tag", "values": TAGS}, "rules": {"target-size": {"enabled": True}}}
COLOURS = {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}
"""All that can differ in the dark."""
NARROW = {**EVERY, "rules": {"target-size": {"enabled": True}, "color-contrast": {"enabled": False}}}
"""All that can differ on a phone; the colours take half of the time."""
SETTLED = """async () => {
    for (let n = 0; n < 3; n++) await new Promise(requestAnimationFrame);
    await Promise.all(document.getAnimations().map((each) => each.finished.catch(() => {})));
}"""
ENGINE = ScriptedEngine(context_length=64, delay=60)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served(application.build_app(lambda name, report: ENGINE, ["scripted"])) as there:
        yield there


def run(page: Page, steps: str = "8") -> None:
    page.fill("#steps input", steps)
    page.click("#run")


def running(page: Page) -> None:
    ENGINE.let_go.clear()
    run(page)
    expect(page.locator(".gs-state")).to_contain_text("Reading the prompt")


def done(page: Page) -> None:
    if page.locator("#run").is_enabled():
        running(page)
    ENGINE.let_go.set()
    expect(page.locator(".gs-state")).to_contain_text("8 steps, done")
    expect(page.locator("#run")).to_be_enabled()


def refused(page: Page) -> None:
    run(page, "999")
    expect(page.locator("#problem-steps p")).not_to_be_empty()
    expect(page.locator("#run")).to_be_enabled()


def opened(name: str) -> Callable[[Page], None]:
    return lambda page: page.click(f"#gs-tab-{name}")


def branched(page: Page) -> None:
    page.locator(".gs-bar:not(.gs-argmax)").first.click()
    expect(page.locator(".gs-chip.gs-forced")).to_have_count(1)


def predicting(page: Page) -> None:
    page.click("#gs-tab-lesson")
    page.click("[data-predict=start]")
    expect(page.locator(".gs-predict")).to_be_visible()


def touring(page: Page) -> None:
    page.click("[data-predict=stop]")
    page.locator(".gs-head [data-tour=open]").click()
    expect(page.locator(".gs-tour")).to_be_visible()


def zoomed(page: Page) -> None:
    page.click("[data-tour=leave]")
    page.click(".gs-zoom")
    expect(page.locator(".gs-zoom")).to_have_attribute("aria-pressed", "true")


def mapped(page: Page) -> None:
    page.click("#gs-tab-table")
    page.select_option(".gs-view", "map")
    expect(page.locator(".gs-map")).to_be_visible()


def about(page: Page) -> None:
    page.locator(".gs-about summary").click()
    expect(page.locator(".gs-about > div")).to_be_visible()


def classroom(page: Page) -> None:
    page.locator(".gs-classroom").click()


STATES = {
    "empty": lambda page: None,
    "running": running,
    "done": done,
    "refused": refused,
    "forced": branched,
    **{name: opened(name) for name in ("lesson", "whatif", "compare", "keep", "reading")},
    "predict": predicting,
    "tour": touring,
    "zoomed": zoomed,
    "heat map": mapped,
    "about the model": about,
    "classroom": classroom,
}


def violations(page: Page, rules: dict[str, object]) -> list[str]:
    if not page.evaluate("'axe' in window"):
        page.evaluate(Axe().axe_script)
    page.evaluate(SETTLED)
    found = page.evaluate("(options) => axe.run(options)", {**rules, "resultTypes": ["violations"]})["violations"]
    return [f"{rule['id']}: {node['target']} {node['html'][:120]}" for rule in found for node in rule["nodes"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_any_state(url: str, visit: Visit, scheme: str) -> None:
    page = visit(url, scheme=scheme)
    page.emulate_media(reduced_motion="reduce")  # no colour is half-way to another
    rules = {WIDTHS[0]: EVERY, WIDTHS[1]: NARROW} if scheme == "light" else {WIDTHS[0]: COLOURS}
    for state, enter in STATES.items():
        page.set_viewport_size({"width": WIDTHS[0], "height": 900})
        enter(page)
        for width, some in rules.items():
            page.set_viewport_size({"width": width, "height": 900})
            assert violations(page, some) == [], f"{state}, {width} px, {scheme}"
            assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{state}, {width} px"
    page.evaluate("document.querySelector('.gs-heat-value').style = 'color: #888; background: #777'")
    assert len(violations(page, rules[WIDTHS[0]])) == 1, "axe would see a fault"


def test_each_new_token_is_heard_once(url: str, visit: Visit) -> None:
    page = visit(url)
    heard = page.locator(".gs-heard")
    expect(heard).to_have_text("")  # a recorded run was not written now
    page.evaluate("""() => {
        window.spoken = [];
        new MutationObserver((records) => records.forEach(({ addedNodes }) =>
            addedNodes.forEach((node) => { if (node.tagName) spoken.push(node.textContent); })
        )).observe(document.querySelector(".gs-heard"), { childList: true });
    }""")
    done(page)
    words = ["most", "popular", "toy", "most", "popular", "toy", "most", "popular"]
    page.wait_for_function("spoken.length === 8")
    page.keyboard.press("Home")
    page.keyboard.press("End")
    page.locator("[data-language=ko]").click()
    expect(page.locator(".gs-state")).to_contain_text("8단계, 완료")
    assert page.evaluate("spoken") == words
    labels = page.locator(".gs-column .gs-bars button").all_inner_texts()
    assert len([label for label in labels if "%" in label]) == len(labels) == 5


def test_the_keyboards_place_is_seen_everywhere(url: str, visit: Visit) -> None:
    page = visit(url)
    places = 0
    while places < 80:
        page.keyboard.press("Tab")
        there = page.evaluate("""() => {
            const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
            return [document.activeElement.outerHTML.slice(0, 120), outlineStyle, parseFloat(outlineWidth),
                document.activeElement === document.body];
        }""")
        if there[3]:
            break
        assert there[1:3] == ["solid", 3], there
        places += 1
    assert places > 30


def test_the_classroom_view_is_one_key_and_stays(url: str, visit: Visit) -> None:
    page = visit(url)
    size = "parseFloat(getComputedStyle(document.querySelector('.gs-chip-text')).fontSize)"
    small = page.evaluate(size)
    page.locator("#prompt textarea").press("c")
    expect(page.locator("html")).not_to_have_class("classroom")
    page.locator(".gs-strip").press("c")
    expect(page.locator("html")).to_have_class("classroom")
    assert page.evaluate(size) >= 1.4 * small
    for gone in ("#choices", "#facts", ".gs-id", "#gs-tab-keep"):
        expect(page.locator(gone).first).to_be_hidden()
    page.reload()
    expect(drawn(page).locator(".gs-classroom")).to_have_text(translate("classroom.leave"))
    page.set_viewport_size({"width": 1920, "height": 1080})
    assert frames_later(page).evaluate("document.documentElement.scrollWidth") == 1920
    page.locator(".gs-classroom").click()
    expect(page.locator("html")).not_to_have_class("classroom")


def test_who_wants_no_motion_sees_none(url: str, browser: Browser) -> None:
    context = browser.new_context(reduced_motion="reduce")
    page = tab(context)
    page.goto(url)
    drawn(page)
    moving = """[...document.querySelectorAll("*")].filter((node) => {
        const { transitionDuration, animationDuration, animationName } = getComputedStyle(node);
        const long = (times) => times.split(", ").some((time) => parseFloat(time) > 0.001);
        return long(transitionDuration) || (animationName !== "none" && long(animationDuration));
    }).map((node) => node.outerHTML.slice(0, 100))"""
    assert page.evaluate(moving) == []
    context.close()


@pytest.mark.parametrize("width", [1280, 390])
def test_the_keyboards_focus_goes_from_run_to_stop_and_back(url: str, visit: Visit, width: int) -> None:
    page = open_settings(visit(url, width=width))
    run_button, stop_button = page.locator("#run"), page.locator("#stop")
    page.fill("#steps input", "8")
    for ends in (ENGINE.let_go.set, lambda: (stop_button.press("Enter"), ENGINE.let_go.set())):
        ENGINE.let_go.clear()
        run_button.press("Enter")
        expect(stop_button).to_be_focused()
        ends()
        expect(run_button).to_be_focused()


def test_no_run_takes_the_focus_from_where_the_reader_is(url: str, visit: Visit) -> None:
    page = visit(url)
    page.fill("#steps input", "8")
    ENGINE.let_go.clear()
    page.locator("#run").press("Enter")
    expect(page.locator("#stop")).to_be_focused()
    page.locator("#gs-tab-keep").focus()
    done(page)
    expect(page.locator("#gs-tab-keep")).to_be_focused()
    ENGINE.let_go.clear()
    page.locator("#prompt textarea").press("Enter")
    expect(page.locator("#stop")).to_be_enabled()  # else `done` would press Run itself
    done(page)
    expect(page.locator("#prompt textarea")).to_be_focused()
    page.locator(".gs-chip").nth(2).focus()
    ENGINE.let_go.clear()
    page.keyboard.press("Control+Enter")
    expect(page.locator("#stop")).to_be_enabled()
    done(page)
    expect(page.locator(".gs-chip")).to_have_count(8)
    expect(page.locator(".gs-chip[aria-current='step']")).to_be_focused()
    ENGINE.let_go.clear()
    page.click("#run")  # of a mouse, the space key plays from now on
    expect(page.locator("#stop")).to_be_enabled()
    assert page.evaluate("document.activeElement === document.body")
    done(page)
    assert page.evaluate("document.activeElement === document.body")


def test_a_bar_that_forks_has_the_focus_again_where_the_fork_is_read(url: str, visit: Visit) -> None:
    page = visit(url)
    done(page)
    page.locator(".gs-chip").nth(4).click()
    expect(page.locator(".gs-strip")).to_have_attribute("aria-valuenow", "5")
    ENGINE.let_go.clear()
    bar = page.locator(".gs-column .gs-bars button").nth(2)
    bar.press("Enter")
    expect(bar).to_be_hidden()
    ENGINE.let_go.set()
    expect(page.locator(".gs-chip.gs-forced")).to_have_count(1)
    expect(page.locator("#run")).to_be_enabled()
    expect(bar).to_be_focused()
