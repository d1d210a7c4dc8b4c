"""The panel in a frame of another page: at 600 by 360, player and ten bars are in it, and the snippet says so."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

import app as application
from decoding.record.permalink import Link, to_link
from tests.browser import Visit, drawn, frames_later, served, tab
from tests.fakes import ScriptedEngine
from tests.page.actions import wait_for_first_run

IN_SIGHT = """() => {
    const box = (node) => node.getBoundingClientRect();
    const chart = box(document.querySelector(".gs-chart"));
    const bars = [...document.querySelectorAll(".gs-column .gs-bars .gs-bar")].map(box);
    return {
        bars: bars.filter(({ top, bottom }) => top >= chart.top - 1 && bottom <= chart.bottom + 1).length,
        chart: chart.bottom, player: box(document.querySelector(".gs-player")).toJSON(),
        text: box(document.querySelector(".gs-text")).toJSON(),
        tall: document.documentElement.scrollHeight, wide: document.documentElement.scrollWidth,
    };
}"""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served(application.build_app(lambda name, report: ScriptedEngine(), ["scripted"])) as address:
        yield address


def framed(url: str, visit: Visit, language: str) -> Page:
    """The run of a link as a frame of a course page shows it."""
    link = to_link(Link("scripted", "Transformers are the", 12, 10, [], 3, language))
    page = visit(f"{url}?run={link}&embed=1", width=600, height=360)
    expect(page.locator(".gs-chip")).to_have_count(12)
    expect(page.locator(".gs")).to_have_attribute("aria-busy", "false")
    return page


@pytest.mark.parametrize("language", ["en", "ko"])
def test_player_and_ten_bars_are_in_the_frame(url: str, visit: Visit, language: str) -> None:
    page = framed(url, visit, language)
    page.wait_for_selector(".gs-plotted")
    there = frames_later(page).evaluate(IN_SIGHT)
    assert (there["tall"], there["wide"]) == (360, 600)
    assert there["bars"] == 11
    assert there["chart"] <= there["player"]["top"] + 1
    assert there["player"]["bottom"] <= 360
    assert there["text"]["height"] >= 90
    page.locator('[data-go="next"]').click()
    expect(page.locator(".gs-strip")).to_have_attribute("aria-valuenow", "5")


@pytest.mark.parametrize("language", ["en", "ko"])
def test_a_fork_can_be_undone_in_the_frame(url: str, visit: Visit, language: str) -> None:
    page = framed(url, visit, language)
    page.locator(".gs-column .gs-bar").nth(1).click()
    expect(page.locator(".gs-chip.gs-forced")).to_have_count(1)
    expect(page.locator(".gs")).to_have_attribute("aria-busy", "false")
    undo = frames_later(page).locator('.gs-forked [data-ask="unfork"]')
    expect(undo).to_be_in_viewport(ratio=1)
    box = page.locator(".gs-messages")
    assert box.evaluate("(box) => box.scrollHeight <= box.clientHeight + 1"), "nothing of it is cut"
    assert page.evaluate(IN_SIGHT)["text"]["height"] >= 90
    undo.click()
    expect(page.locator(".gs-chip.gs-forced")).to_have_count(0)


@pytest.mark.parametrize("size", [(600, 360), (800, 450), (1280, 720), (480, 360)])
def test_plotlys_bars_lie_on_the_lists(url: str, visit: Visit, size: tuple[int, int]) -> None:
    """A label wider than the frame's column of labels widens that column, for both."""
    link = to_link(Link("scripted", "Transformers are the", 3, 5, [], 0, "en"))
    page = visit(f"{url}?run={link}&embed=1", width=size[0], height=size[1])
    page.wait_for_selector(".gs-plotted:not(.gs-live)")
    there = frames_later(page).evaluate("""() => {
        const boxes = (name) => [...document.querySelectorAll(name)].map((node) => node.getBoundingClientRect());
        const [track] = boxes(".gs-argmax .gs-bar-track"), [value] = boxes(".gs-argmax .gs-bar-value");
        const [bar, another] = boxes(".gs-plot .bars path");
        const share = document.querySelector(".gs-argmax .gs-bar-track").style.getPropertyValue("--p");
        return { track: track.left, bars: [bar.left, another.left], value: value.left, end: bar.right,
            drawn: bar.width / track.width, share: Number(share) };
    }""")
    assert there["bars"] == pytest.approx([there["track"]] * 2, abs=1.5)
    assert there["drawn"] == pytest.approx(there["share"], abs=0.02)
    assert there["value"] >= there["end"] - 1.5, "no number lies on its bar"


def test_the_snippet_is_as_high_as_that(url: str, browser: Browser) -> None:
    page = tab(browser)
    page.goto(url)
    drawn(page).click("#run")
    wait_for_first_run(page)
    page.click("#gs-tab-keep")
    page.wait_for_function("document.querySelector('.gs-frame').value")
    assert ' height="360"' in page.input_value(".gs-frame")
    page.close()
