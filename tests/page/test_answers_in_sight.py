"""What is asked under "What if?", far below the picture, is answered in sight: by the run, or a tab that compares."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

import app as application
from tests.browser import Visit, frames_later, open_settings, served
from tests.fakes import ScriptedEngine

SIZES = [(1280, 720), (390, 844)]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served(application.build_app(lambda name, report: ScriptedEngine(), ["scripted"])) as address:
        yield address


def ask(page: Page, question: str) -> None:
    """A run of six steps, and a question below it, once it is answered."""
    open_settings(page).fill("#steps input", "6")
    page.click("#run")
    expect(page.locator(".gs-state")).to_contain_text("6 steps, done")
    expect(page.locator("#run")).to_be_enabled()
    page.click("#gs-tab-whatif")
    page.fill(".gs-own", " toy")
    page.fill(".gs-score", " toy toy")
    page.click(f'[data-ask="{question}"]')
    expect(page.locator(".gs-chip")).not_to_have_count(0)
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
