"""The page on paper, in the system's own colours, at twice its size; and what there is to say of a model."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser import Visit, frames_later, open_settings


def run(page: Page, steps: str) -> Page:
    open_settings(page).fill("#steps input", steps)
    page.click("#run")
    expect(page.locator(".gs-chip")).to_have_count(int(steps))
    expect(page.locator("#run")).to_be_enabled()
    return frames_later(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_paper_the_whole_run_is_on_white(url: str, visit: Visit, scheme: str) -> None:
    page = run(visit(url, scheme=scheme, height=720), "40")
    page.click("#gs-tab-whatif")
    page.emulate_media(media="print", color_scheme=scheme)
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    for gone in ("#bar", "footer", ".chips", "[role=tablist]", "#gs-page-whatif", ".gs-plot", '[data-go="play"]'):
        expect(page.locator(gone).first).to_be_hidden()
    expect(page.locator(".gs-rows tbody tr")).to_have_count(40)
    last = page.locator(".gs-rows tbody tr").last
    expect(last).to_be_visible()
    seen = page.evaluate("""() => {
        const cut = [...document.querySelectorAll(".gs-text, .gs-rows, .gs-chart, #gs-page-table")].filter(
            (box) => box.scrollHeight > box.clientHeight + 2 && getComputedStyle(box).overflowY !== "visible");
        const { color } = getComputedStyle(document.querySelector(".gs-step-title"));
        return [getComputedStyle(document.body).backgroundColor, color, cut.map((box) => box.className)];
    }""")
    assert seen == ["rgb(255, 255, 255)", "rgb(0, 0, 0)", []]
    track = page.locator(".gs-column .gs-bar-track").first
    expect(track).to_have_css("visibility", "visible")
    expect(track).to_have_css("print-color-adjust", "exact")  # a printer leaves out backgrounds
    page.set_viewport_size({"width": 740, "height": 1000})  # as wide as paper is
    widths = page.locator(".gs-rows td .gs-chip-text").evaluate_all("(all) => all.map((each) => each.offsetWidth)")
    assert min(widths) > 5, "the table has its tokens"
    expect(page.locator(".gs-main")).to_have_css("min-height", "0px")
    expect(page.locator(".gs-colour")).to_have_css("color-scheme", "light")
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    page.emulate_media(media="screen")
    expect(page.locator("#gs-page-whatif")).to_be_visible()


@pytest.mark.parametrize(("choices", "is_cut"), [("5", False), ("6", True)])
def test_paper_says_which_model_it_was_and_that_choices_are_left_out(
    url: str, visit: Visit, choices: str, is_cut: bool
) -> None:
    page = open_settings(visit(url, width=390, height=844))
    page.fill("#choices input", choices)
    run(page, "2")
    expect(page.locator(".gs-on-paper")).to_be_hidden()
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 718, "height": 1000})
    expect(page.locator(".gs-model")).to_be_visible()
    model, state = (page.locator(name).bounding_box() for name in (".gs-model", ".gs-state"))
    assert model
    assert state
    assert model["y"] + model["height"] <= state["y"] + 1
    gap = page.evaluate("""() => {
        const name = document.createRange();
        name.selectNodeContents(document.querySelector(".gs-temperature label").firstChild);
        const { left } = document.querySelector(".gs-heat-value").getBoundingClientRect();
        return left - name.getBoundingClientRect().right;
    }""")
    assert 0 < gap < 20, "the slider is not on paper, nor is its room"
    expect(page.locator(".gs-on-paper")).to_be_visible(visible=is_cut)
    table, rows = (page.locator(name).bounding_box() for name in (".gs-rows table", ".gs-rows"))
    assert table
    assert rows
    assert rows["height"] < table["height"] + 4  # no empty paper, and nothing over the table's end


def test_in_forced_colours_what_is_chosen_is_seen(url: str, visit: Visit) -> None:
    page = run(visit(url), "8")
    page.emulate_media(forced_colors="active")
    colours = page.evaluate("""() => {
        const ground = (selector) => getComputedStyle(document.querySelector(selector)).backgroundColor;
        return {
            page: getComputedStyle(document.body).backgroundColor,
            strip: ground(".gs-strip-bar:not(.gs-chosen)"), chosen: ground(".gs-strip-bar.gs-chosen"),
            tab: ground('[role="tab"][aria-selected="true"]'), other: ground('[role="tab"][aria-selected="false"]'),
            chip: getComputedStyle(document.querySelector(".gs-chip[aria-current]")).outlineStyle,
            bars: getComputedStyle(document.querySelector(".gs-column .gs-bar-track")).visibility,
        };
    }""")
    assert len({colours["page"], colours["strip"], colours["chosen"]}) == 3
    assert colours["tab"] != colours["other"]
    assert (colours["chip"], colours["bars"]) == ("solid", "visible")
    for button in page.locator("#run, #stop, .chips button").all():  # told from text by their borders alone
        expect(button).to_have_css("border-top-width", "1px")


@pytest.mark.parametrize(("width", "height"), [(640, 360), (320, 640)])
def test_at_twice_the_size_nothing_is_lost(url: str, visit: Visit, width: int, height: int) -> None:
    page = run(visit(url, width=width, height=height), "8")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator(".gs-column .gs-bar").last.scroll_into_view_if_needed()
    box = page.locator(".gs-column .gs-bar").last.bounding_box()
    player = page.locator(".gs-player").bounding_box()
    assert box
    assert player
    assert player["height"] < height / 3
    assert box["y"] + box["height"] <= player["y"] + 1, "no bar lies under the player"


@pytest.mark.parametrize(("width", "is_recorded"), [(1280, False), (390, False), (390, True)])
def test_what_is_known_of_the_model_is_one_click_away(url: str, visit: Visit, width: int, is_recorded: bool) -> None:
    page = visit(url, width=width, height=844)
    if not is_recorded:  # the badge of a recorded run stands before it
        run(page, "2")
    state = page.locator(".gs-state").bounding_box()
    assert state
    assert state["width"] > 100  # its number of steps can be read
    page.locator("#facts p").evaluate("(line) => { line.textContent = '135 M parameters'; }")
    about = page.locator(".gs-about > div")
    expect(about).to_be_hidden()
    page.locator(".gs-about summary").click()
    expect(about).to_contain_text("ONNX Runtime" if is_recorded else "135 M parameters")
    box = about.bounding_box()
    assert box
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width
    page.keyboard.press("Escape")
    expect(about).to_be_hidden()
    page.locator(".gs-about summary").click()
    page.locator(".gs-step-title").click()
    expect(about).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_browsers_own_controls_follow_the_theme(url: str, visit: Visit, scheme: str) -> None:
    expect(visit(url, scheme=scheme).locator(".gs-colour")).to_have_css("color-scheme", scheme)


def test_everything_else_is_hatched_in_a_way_that_firefox_draws(url: str, visit: Visit) -> None:
    """Firefox draws no lines of a mixed colour unless the gradient names its colour space."""
    track = run(visit(url), "2").locator(".gs-rest .gs-bar-track").first
    expect(track).to_have_css("background-image", re.compile("^repeating-linear-gradient.*in srgb"))
    expect(track).to_have_css("background-color", "rgb(201, 206, 214)")
