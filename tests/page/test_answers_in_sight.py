"""What is asked under "What if?", far below the picture, is answered in sight: by the run, or a tab that compares."""

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser import Visit, frames_later, open_settings
from tests.waiting import until

SIZES = [(1280, 720), (390, 844)]


def ask(page: Page, question: str, meanwhile: str = "") -> None:
    """A run of six steps, and a question below it, once it is answered; `meanwhile`: what is clicked before."""
    open_settings(page).fill("#steps input", "6")
    page.click("#run")
    expect(page.locator(".gs-state")).to_contain_text("6 steps, done")
    expect(page.locator("#run")).to_be_enabled()
    page.click("#gs-tab-whatif")
    page.fill(".gs-own", " toy")
    page.fill(".gs-score", " toy toy")
    held: list[Route] = []
    page.route("**/queue/join*", lambda route: held.append(route))
    page.click(f'[data-ask="{question}"]')
    expect(page.locator(".gs")).to_have_attribute("aria-busy", "true")  # so that the end of this question is waited for
    until(lambda: frames_later(page) and held)  # Playwright hears of a request while it waits for the page
    if meanwhile:
        page.click(meanwhile)
        frames_later(page).evaluate("scrollTo(0, 0)")
    for request in held:
        request.continue_()
    page.unroute("**/queue/join*")
    expect(page.locator(".gs")).to_have_attribute("aria-busy", "false")
    expect(page.locator("#run")).to_be_enabled()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("question", ["own", "pastEnd"])
def test_a_run_that_is_asked_for_below_comes_into_sight(
    url: str, visit: Visit, size: tuple[int, int], question: str
) -> None:
    page = visit(url, width=size[0], height=size[1])
    ask(page, question)
    expect(page.locator(".gs-text")).to_be_in_viewport(ratio=0.95, timeout=8_000)
    expect(page.locator(".gs-chart")).to_be_in_viewport(ratio=0.95, timeout=8_000)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("question", "tab"), [("score", "compare"), ("beam", "tree")])
def test_a_tab_that_answers_begins_in_sight(
    url: str, visit: Visit, size: tuple[int, int], question: str, tab: str
) -> None:
    page = visit(url, width=size[0], height=size[1])
    ask(page, question)
    chosen = page.locator(f"#gs-tab-{tab}")
    expect(chosen).to_have_attribute("aria-selected", "true")
    expect(chosen).to_be_in_viewport(ratio=0.95, timeout=8_000)
    words = page.locator({"compare": ".gs-verdict", "tree": ".gs-tree-beams .gs-tree-status"}[tab])
    expect(words).not_to_be_empty()
    expect(frames_later(page).locator({"compare": ".gs-verdict", "tree": ".gs-tree-beams h3"}[tab])).to_be_in_viewport()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("question", ["score", "beam"])
def test_who_went_to_another_tab_meanwhile_stays_there(
    url: str, visit: Visit, size: tuple[int, int], question: str
) -> None:
    page = visit(url, width=size[0], height=size[1])
    ask(page, question, meanwhile="#gs-tab-reading")
    expect(page.locator("#gs-tab-reading")).to_have_attribute("aria-selected", "true")
    assert frames_later(page).evaluate("scrollY") == 0
