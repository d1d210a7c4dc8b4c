"""The bars' axis: 0 to 100 %, or zoomed to the largest candidate and saying so; no line of it goes through a number."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

import app as application
from decoding.i18n import translate
from tests.browser import Visit, frames_later, open_settings, served
from tests.fakes import ScriptedEngine
from tests.page.actions import wait_for_first_run

SCRIPT = [{" most": 0.09, " only": 0.08, " best": 0.02}, {" most": 0.75, " only": 0.2}]
BARS = """() => {
    const box = (node) => {
        const { left, right, width } = node.getBoundingClientRect();
        return { left, right, width };
    };
    const rows = [...document.querySelectorAll(".gs-column .gs-bars .gs-bar")];
    const [low, high] = document.querySelector(".gs-plot")._fullLayout.xaxis.range;
    const drawn = [...document.querySelectorAll(".gs-plot .bars .point path")].map((bar) => bar.getBBox().width);
    return {
        track: box(rows[0].querySelector(".gs-bar-track")).width, end: high, low, drawn,
        rest: box(rows.at(-1).querySelector(".gs-bar-track")), chart: box(document.querySelector(".gs-chart")),
        values: rows.map((row) => box(row.querySelector(".gs-bar-value"))),
        hides: rows.map((row) => getComputedStyle(row.querySelector(".gs-bar-value")).backgroundColor),
        behind: getComputedStyle(document.body).backgroundColor,
    };
}"""


PICTURE = """async () => {
    document.querySelector("#gs-tab-keep").click();
    const made = URL.createObjectURL;
    const got = new Promise((done) => {
        URL.createObjectURL = (blob) => { blob.text().then(done); URL.createObjectURL = made; return made(blob); };
    });
    document.querySelector('[data-picture="svg"]').click();
    window.picture = await got;
    return window.picture.length > 100;
}"""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served(application.build_app(lambda name, report: ScriptedEngine(SCRIPT), ["scripted"])) as address:
        yield address


def run(page: Page) -> Page:
    page.wait_for_function("window.Plotly")
    open_settings(page).fill("#choices input", "3")
    page.click("#run")
    wait_for_first_run(page)
    page.locator(".gs-chip").first.click()
    expect(page.locator(".gs-strip")).to_have_attribute("aria-valuenow", "1")
    return frames_later(page)


@pytest.mark.parametrize(("width", "language"), [(1280, "en"), (390, "ko")])
def test_a_switch_zooms_to_the_largest_candidate_and_says_so(url: str, visit: Visit, width: int, language: str) -> None:
    page = run(visit(f"{url}?language={language}", width=width, height=720 if width > 390 else 844))
    said, switch = page.locator(".gs-axis"), page.locator(".gs-zoom")
    expect(said).to_have_text(translate("axis.whole", language, end="100"))
    whole = page.evaluate(BARS)
    assert whole["end"] == 100
    assert whole["drawn"][0] == pytest.approx(0.09 * whole["track"], abs=1.5)
    switch.click()
    expect(said).to_have_text(translate("axis.zoomed", language, end="10"))
    expect(switch).to_have_attribute("aria-pressed", "true")
    zoomed = frames_later(page).evaluate(BARS)
    assert (zoomed["low"], zoomed["end"]) == (0, 10)
    assert zoomed["drawn"][0] == pytest.approx(0.9 * zoomed["track"], abs=1.5)
    assert zoomed["rest"]["width"] == pytest.approx(zoomed["track"], abs=1.5), "it goes beyond the axis"
    assert all(value["right"] <= zoomed["chart"]["right"] + 1 for value in zoomed["values"])
    page.locator(".gs-strip").press("ArrowRight")
    expect(said).to_have_text(translate("axis.zoomed", language, end="100"))
    page.locator(".gs-strip").press("ArrowLeft")
    switch.click()
    expect(said).to_have_text(translate("axis.whole", language, end="100"))
    assert frames_later(page).evaluate(BARS)["end"] == 100


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_gridline_goes_through_a_number(url: str, visit: Visit, scheme: str) -> None:
    page = run(visit(url, scheme=scheme))
    there = page.evaluate(BARS)
    assert set(there["hides"]) == {there["behind"]}
    assert "rgba" not in there["behind"], "nothing is seen through it"
    assert page.evaluate(PICTURE)
    covered = page.evaluate("""() => {
        const svg = new DOMParser().parseFromString(window.picture, "image/svg+xml").documentElement;
        document.body.append(svg);
        const box = (node) => node.getBBox();
        const all = [...svg.querySelectorAll("*")];
        const lines = all.filter((node) => node.tagName === "line");
        const found = all.filter((node) => node.tagName === "text" && /%/.test(node.textContent)).filter((text) => {
            const { x, y, width, height } = box(text);
            const through = lines.filter((line) => {
                const at = Number(line.getAttribute("x1"));
                return at >= x && at <= x + width && Number(line.getAttribute("y2")) > y + 2;
            });
            const patch = text.previousElementSibling;
            const hidden = patch?.tagName === "rect" && patch.getAttribute("fill") === "#ffffff" &&
                box(patch).x <= x && box(patch).x + box(patch).width >= x + width - 1;
            return through.length && !hidden;
        });
        svg.remove();
        return [lines.length, found.map((text) => text.textContent)];
    }""")
    assert covered == [5, []]
