"""A step that was answered and is asked about again, with more or other fields: what stays, what takes its place."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Page, expect

from tests.browser import Visit, frames_later
from tests.page.why_questions import Gated, first_of_two_steps, is_stopped, page_over, top_of
from tests.waiting import until


@contextmanager
def answered_by_64(visit: Visit, engine: Gated, blocks: Any) -> Iterator[tuple[Page, float]]:
    """A long text's answer on a phone, where each button may be a line of its own; and where what follows begins."""
    engine.gate.set()
    with first_of_two_steps(visit, blocks, "ab" * 50) as page:
        page.set_viewport_size({"width": 390, "height": 844})
        top = top_of(frames_later(page), ".gs-why-two")
        page.locator('[data-ask="why"]').click()
        expect(page.locator(".gs-part-of-text")).to_have_count(64)
        page.wait_for_selector(".gs[aria-busy=false]")
        expect(page.locator(".gs-without-status")).not_to_be_empty()  # the tab is drawn after the run's state
        assert top_of(frames_later(page), ".gs-why-two") == top
        yield page, top


def test_the_number_of_tokens_before_stands_apart_from_the_first(visit: Visit) -> None:
    engine = Gated()
    with answered_by_64(visit, engine, page_over(engine)) as (page, _):
        boxes = [page.locator(f".gs-without-text > :nth-child({n})").bounding_box() for n in (1, 2)]
        assert boxes[0]
        assert boxes[1]
        assert boxes[1]["x"] - boxes[0]["x"] - boxes[0]["width"] > 6


def test_a_finished_answer_stays_while_a_larger_one_grows_and_after_stop(visit: Visit) -> None:
    """And after a reload; nothing has moved."""
    engine = Gated()
    blocks = page_over(engine)
    with answered_by_64(visit, engine, blocks) as (page, top):
        parts, more = page.locator(".gs-part-of-text"), page.locator(".gs-why-more")
        verdict = page.locator(".gs-without-status").inner_text()
        engine.gate.clear()
        engine.read.clear()
        more.click()
        expect(page.locator(".gs-without-progress")).to_have_text("Left out 1 of 100 tokens …")
        assert top_of(page, ".gs-why-two") == top
        expect(more).to_be_disabled()  # one question at a time
        expect(parts).to_have_count(64)
        page.click("#stop")
        page.wait_for_selector(".gs[aria-busy=false]")
        until(lambda: is_stopped(blocks))
        engine.gate.set()
        for stopped in (" What was asked after that was stopped.", ""):
            expect(parts).to_have_count(64)
            expect(page.locator(".gs-without-status")).to_have_text(verdict)
            asked = "Asked with “each token” and “no other candidate”."
            expect(page.locator(".gs-without-asked")).to_have_text(asked + stopped)
            expect(more).to_be_enabled()
            assert top_of(page, ".gs-why-two") == top
            page.reload()
            page.locator(".gs-chip[data-step='0']").click()
            page.locator("#gs-tab-why").press("Enter")


def test_other_fields_are_hinted_at_after_a_stop_too(visit: Visit) -> None:
    engine = Gated()
    blocks = page_over(engine)
    with answered_by_64(visit, engine, blocks) as (page, _):
        asked = page.locator(".gs-without-asked")
        engine.gate.clear()
        engine.read.clear()
        page.click(".gs-why-more")
        expect(page.locator(".gs-without-progress")).to_have_text("Left out 1 of 100 tokens …")
        page.select_option(".gs-why-by", "words")  # while the other question is open
        page.click("#stop")
        engine.gate.set()
        expect(asked).to_contain_text("Press “Ask why” for what the fields say now.")
        expect(asked).not_to_contain_text("was stopped")
        page.select_option(".gs-why-by", "tokens")
        expect(asked).to_contain_text("What was asked after that was stopped.")


def test_a_larger_answer_takes_the_place_of_a_smaller_one(visit: Visit) -> None:
    """And the same question does not take it back."""
    engine = Gated()
    with answered_by_64(visit, engine, page_over(engine)) as (page, top):
        parts, more = page.locator(".gs-part-of-text"), page.locator(".gs-why-more")
        more.click()
        expect(parts).to_have_count(100)
        page.wait_for_selector('[data-ask="why"][aria-disabled="false"]')
        expect(more).to_be_disabled()
        assert top_of(page, ".gs-why-two") == top
        engine.read.clear()
        page.locator('[data-ask="why"]').click()
        until(lambda: frames_later(page) and len(engine.read) == 100)
        page.wait_for_selector('[data-ask="why"][aria-disabled="false"]')
        expect(parts).to_have_count(100)
