"""The trees on the page over the real starter: beams and runs, by mouse, by keyboard and as lists."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

import app as application
import decoding
from decoding.engines.local_engine import LocalEngine
from tests.browser import Visit, frames_later, served
from tests.page.test_accessibility import EVERY, violations
from tests.page.test_whatif import shows

PROMPT = "Transformers are the"


@pytest.fixture(scope="module")
def url(starter: LocalEngine) -> Iterator[str]:
    with served(application.build_app(lambda name, report: starter, ["starter"])) as address:
        yield address


def chips(page: Page) -> list[int]:
    return [int(text) for text in page.locator(".gs-text .gs-chip[data-step] .gs-id").all_inner_texts()]


def test_beams_and_runs_are_trees(url: str, visit: Visit, starter: LocalEngine) -> None:
    found = decoding.beam_search(starter, PROMPT, max_new_tokens=8, num_beams=4, top_k=5)
    tree = found.beams
    assert tree
    page = visit(url)
    page.click("#run")
    shows(page, "Run 2")
    page.click("#gs-tab-tree")
    expect(page.locator(".gs-tree-beams .gs-tree-status")).to_contain_text("No beam search has been made")
    page.click("#gs-tab-whatif")
    page.click('[data-ask="beam"]')

    # The tree stands on screen when the search has ended, with its verdict, and with every beam.
    beams = page.locator(".gs-tree-beams .gs-node")
    expect(beams).to_have_count(32)
    expect(page.locator(".gs-tree-beams .gs-tree-status")).to_contain_text("7.69 times as probable")
    shown = [text.replace("−", "-").split()[-1] for text in beams.locator(".gs-node-value").all_inner_texts()]
    assert shown == [f"{beam.total:.2f}" for step in tree.steps for beam in step]
    places = [(step, place) for step in range(8) for place in range(4)]
    path = tree.path(*tree.finished[0])
    marks = {
        "winner": [path[step] == place for step, place in places],
        "greedy": [tree.is_greedy(step, place) for step, place in places],
        "dropped": [tree.dropped_at(step, place) is not None for step, place in places],
    }
    for name, expected in marks.items():
        assert any(expected), name
        classes = beams.evaluate_all(f"nodes => nodes.map((node) => node.classList.contains('gs-node-{name}'))")
        assert classes == expected, name
    expect(page.locator(".gs-tree-beams .gs-node-here")).to_have_count(len([1 for n in range(8) if n <= int_of(page)]))

    # A box on the winner's path goes to its step; another one becomes a run of its own, looked at where it was pressed.
    winner = places.index((5, path[5]))
    beams.nth(winner).click()
    expect(page.locator(".gs-step-title")).to_contain_text("Step 6 of 8")
    assert chips(page) == list(found.generated_token_ids)
    lost = next(place for place in places if place[0] == 3 and place[1] != path[3] and not tree.is_greedy(*place))
    beams.nth(places.index(lost)).click()
    expect(page.locator(".gs-step-title")).to_contain_text("Step 4 of 8")
    page.wait_for_selector('.gs[aria-busy="false"]')
    assert tuple(chips(page)[:4]) == tree.token_ids(*lost)
    expect(beams).to_have_count(32)  # the tree stays
    expect(page.locator('.gs-tree-beams .gs-node[aria-current="step"]')).to_have_attribute(
        "data-node", str(places.index(lost))
    )

    # By keyboard: left to where a beam comes from, Enter goes there.
    page.locator('.gs-tree-beams .gs-node[tabindex="0"]').focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    expect(page.locator(".gs-step-title")).to_contain_text("Step 3 of 8")

    # The same as a list.
    page.click(".gs-tree-beams summary")
    items = page.locator(".gs-tree-beams li")
    expect(items).to_have_count(32)
    expect(items.nth(places.index((0, 0)))).to_have_text(
        f"Step 1, beam 1: “·most”, log-probability −{-tree.steps[0][0].logprob:.3f} (rank 1), "
        f"−{-tree.steps[0][0].total:.3f} in all. On the winner's path. Greedy decoding writes this."
    )
    items.nth(winner).locator("button").click()
    expect(page.locator(".gs-step-title")).to_contain_text("Step 6 of 8")

    # The runs: greedy, the search's and the fork. What they have in common is there once.
    rows = page.locator(".gs-tree-runs .gs-node-end")
    expect(rows).to_have_count(3)
    total = f"Run 3 · −{-found.logprob:.2f} ★"
    expect(rows.nth(1)).to_have_text(total)
    greedy = decoding.trace(starter, PROMPT, max_new_tokens=8, top_k=5).generated_token_ids
    texts = [greedy, found.generated_token_ids, tuple(chips_of(page, rows.nth(2)))]
    beginnings = {text[: n + 1] for text in texts for n in range(8)}
    expect(page.locator(".gs-tree-runs .gs-node[data-node]")).to_have_count(len(beginnings))
    page.locator(".gs-tree-runs .gs-node[data-node]").first.click()
    expect(page.locator(".gs-step-title")).to_contain_text("Step 1 of 8")
    assert chips(page) == list(greedy)
    expect(page.locator(".gs-tree-runs button.gs-node-forced").first).to_contain_text("✎")
    page.click(".gs-tree-runs summary")
    expect(page.locator(".gs-tree-runs li")).to_have_count(len(beginnings) + 3)

    assert violations(page, EVERY) == []
    page.set_viewport_size({"width": 390, "height": 844})
    assert frames_later(page).evaluate("document.documentElement.scrollWidth") <= 390


def int_of(page: Page) -> int:
    """The chosen step, counted from 0."""
    return int(page.locator('.gs-chip[aria-current="step"]').get_attribute("data-step") or 0)


def chips_of(page: Page, row: object) -> list[int]:
    row.click()  # type: ignore[attr-defined]
    return chips(frames_later(page))
