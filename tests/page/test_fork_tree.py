"""The runs that part from each other as a picture beside the text, and the run as a heat map."""

import pytest
from playwright.sync_api import Page, expect

from decoding.i18n import translate
from tests.browser import Visit, frames_later
from tests.page.actions import wait_for_first_run

SHADES = """([columns, rows]) => {
    const map = document.querySelector(".gs-map");
    const { wide, high } = map.sizes;
    const { data } = map.getContext("2d").getImageData(0, 0, map.width, map.height);
    const scale = map.width / parseFloat(map.style.width);
    const at = (column, row) => {
        const [x, y] = [28 + column * wide + wide - 4, row * high + high - 4];
        return data[4 * (Math.round(y * scale) * map.width + Math.round(x * scale)) + 3] / 255;
    };
    return Array.from({ length: columns }, (_, column) => Array.from({ length: rows }, (_, row) => at(column, row)));
}"""


def run(page: Page, choices: str = "3") -> Page:
    page.fill("#choices input", choices)
    page.click("#run")
    wait_for_first_run(page)
    return frames_later(page)


def fork(page: Page, step: int, candidate: int) -> None:
    page.locator(".gs-chip").nth(step).click()
    expect(page.locator(".gs-strip")).to_have_attribute("aria-valuenow", str(step + 1))
    rows = page.locator(".gs-fork")
    before = max(1, rows.count())
    page.locator(".gs-column .gs-bar").nth(candidate).click()
    expect(rows).to_have_count(before + 1)
    expect(page.locator(".gs")).to_have_attribute("aria-busy", "false")
    expect(page.locator("#run")).to_be_enabled()
    expect(page.locator(".gs-forked")).to_be_visible()


def test_forks_stand_as_a_picture_beside_the_text(url: str, visit: Visit) -> None:
    page = run(visit(url, height=720))
    forks, rows = page.locator(".gs-forks"), page.locator(".gs-fork")
    expect(forks).to_be_hidden()
    fork(page, 3, 1)
    expect(rows).to_have_count(2)
    expect(rows.nth(0)).to_have_text(f"{translate('forks.root')} ★")
    expect(rows.nth(1)).to_have_text("✎ ·only÷2")
    expect(rows.nth(1)).to_have_attribute("aria-current", "true")
    fork(page, 6, 2)
    expect(rows).to_have_count(3)
    expect(rows.nth(2)).to_have_text("✎ ·best÷8")
    lines = page.locator(".gs-forks path").evaluate_all("(all) => all.map((line) => line.getAttribute('d'))")
    assert lines == ["M 0 0.5 H 100", "M 37.5 0.5 V 1.5 H 100", "M 75 1.5 V 2.5 H 100"]  # of 8 steps: at 4 and at 7
    text = page.locator(".gs-text").bounding_box()
    assert text
    assert text["height"] >= 90
    rows.nth(1).click()
    expect(page.locator(".gs-chip.gs-forced")).to_have_count(1)
    expect(page.locator(".gs-step-title")).to_contain_text("Step 4 of 8: ·only")
    expect(rows).to_have_count(3)
    rows.nth(0).click()
    expect(page.locator(".gs-chip.gs-forced")).to_have_count(0)
    expect(page.locator(".gs-fork[aria-current]")).to_have_count(1)
    expect(page.locator(".gs-step-title")).to_contain_text("Step 4 of 8")


def test_on_a_phone_the_run_on_screen_is_in_sight_among_many(url: str, visit: Visit) -> None:
    page = visit(url, width=390, height=844)
    page.click("[data-settings]")
    run(page)
    for candidate in (1, 2):
        fork(page, 3, candidate)
    expect(page.locator(".gs-fork[aria-current='true']")).to_be_in_viewport(ratio=0.9)


def test_the_first_run_is_seen_where_a_fork_of_a_fork_leaves_it(url: str, visit: Visit) -> None:
    """Which may be before the step where the fork left it."""
    page = run(visit(url, height=720))
    fork(page, 6, 1)
    fork(page, 1, 1)
    rows = page.locator(".gs-fork")
    expect(rows).to_have_count(3)
    for row, token in ((0, "·popular"), (2, "·most"), (0, "·popular")):
        rows.nth(row).click()
        expect(page.locator(".gs-step-title")).to_have_text(f"Step 2 of 8: {token}")


def test_the_table_is_a_heat_map_by_choice(url: str, visit: Visit) -> None:
    page = run(visit(url, height=720))
    expect(page.locator(".gs-rows")).to_be_visible()
    page.select_option(".gs-view", "map")
    expect(page.locator(".gs-rows")).to_be_hidden()
    page.locator(".gs-strip").press("End")
    shades = frames_later(page).evaluate(SHADES, [7, 3])
    shares = [(0.5, 0.25, 0.125), (0.75, 0.125), (0.4, 0.3, 0.2)]  # the script's own
    for column, shade in enumerate(shades):
        for row, share in enumerate(shares[column % 3]):
            assert shade[row] == pytest.approx(share**0.5, abs=0.02), (column, row)
    place = page.evaluate("28 + 2.5 * document.querySelector('.gs-map').sizes.wide")
    page.locator(".gs-map").click(position={"x": place, "y": 30})
    expect(page.locator(".gs-step-title")).to_contain_text("Step 3 of 8")
    expect(page.locator(".gs-map-status")).to_have_text(
        translate("map.cell", step=3, rank=2, token="·line", probability="30.00 %")
    )
    page.select_option(".gs-view", "table")
    expect(page.locator('.gs-rows tr[aria-current="step"]')).to_have_attribute("data-step", "2")


def test_a_heat_map_of_fifty_choices_is_one_element(url: str, visit: Visit) -> None:
    page = visit(url, height=720)
    page.fill("#steps input", "120")
    page.select_option(".gs-view", "map")
    run(page, "50")
    assert page.locator(".gs-map-box *").count() == 1
    box = page.locator(".gs-map").bounding_box()
    assert box
    assert box["height"] <= 400
    assert frames_later(page).evaluate("document.documentElement.scrollWidth") == 1280
