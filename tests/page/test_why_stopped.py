"""A question "why" that waits, grows, is stopped and asked again: what is said and shown, and that nothing moves."""

from pathlib import Path

from playwright.sync_api import Page, expect

from decoding.page import AdmissionQueue
from decoding.serving.admission import MAX_LONG, Visitor
from tests.browser import Visit, frames_later
from tests.page.why_questions import Gated, first_of_two_steps, is_stopped, page_over, saved, top_of
from tests.waiting import until


def test_a_model_without_layers_says_so_and_the_question_waits_its_turn_and_can_be_stopped(
    visit: Visit, tmp_path: Path
) -> None:
    engine, queue = Gated(), AdmissionQueue()
    others = [queue.enter(Visitor(f"another {n}"), is_long=True) for n in range(MAX_LONG)]
    blocks = page_over(engine, queue)
    with first_of_two_steps(visit, blocks, "Transformers") as page:
        engine.read.clear()
        page.locator('[data-ask="why"]').click()
        progress, stopped = page.locator(".gs-without-progress"), page.locator(".gs-without-stopped")
        word = page.locator(".gs-why-ask .gs-word")
        expect(word).to_have_text("You are next: your turn begins as soon as another ends.")
        assert (queue.served, queue.waiting, engine.read) == (MAX_LONG, 1, [])
        queue.leave(others[0])
        expect(page.locator(".gs-lens-status")).to_contain_text("scripted does not run in this process")
        expect(progress).to_have_text("Left out 1 of 12 tokens …")
        expect(page.locator(".gs-without-asked")).to_be_visible()
        expect(word).to_have_text("Leaving out one part at a time …")
        expect(stopped).to_have_text("")
        page.click("#stop")
        page.wait_for_selector(".gs[aria-busy=false] .gs-part-of-text")
        expect(stopped).to_have_text("Stopped after 1 of 12 tokens.")
        page.locator("#gs-tab-keep").press("Enter")
        assert "\nStopped after 1 of 12 tokens.\n" in saved(page, "md", tmp_path).read_text("utf-8")
        shown = visit(saved(page, "html", tmp_path).as_uri())
        shown.locator("#gs-tab-why").press("Enter")
        shown.locator(".gs-strip").press("Home")
        expect(shown.locator(".gs-without-asked")).to_contain_text(
            "Stopped after 1 of 12 tokens. Asked with “each token”"
        )
        page.locator("#gs-tab-why").press("Enter")
        until(lambda: is_stopped(blocks))  # the server hears of Stop after the page has shown it
        engine.gate.set()
        page.locator('[data-ask="why"]').click()  # the first is through with its pass, and does no other
        expect(page.locator(".gs-part-of-text")).to_have_count(12)
        page.wait_for_selector(".gs[aria-busy=false]")
        expect(stopped).to_have_text("")
        assert len(engine.read) == 2 + 12


def place_of(page: Page, selector: str) -> list[float]:
    """An element's left edge, width and height, and where it begins in its tab."""
    top = top_of(page, selector)
    box = page.locator(selector).bounding_box()
    assert box
    return [box["x"], box["width"], box["height"], top]


def test_ask_why_is_stop_while_the_answer_grows(visit: Visit) -> None:
    """It stays where it is, and keeps the keyboard."""
    engine = Gated()
    with first_of_two_steps(visit, page_over(engine), "ab" * 50) as page:
        button = page.locator(".gs-why-button")
        before = place_of(page, ".gs-why-button")
        for stop in (button.click, lambda: button.press("Escape"), lambda: button.press("Enter")):
            engine.gate.clear()
            engine.read.clear()
            button.press("Enter")
            expect(page.locator(".gs-without-progress")).to_have_text("Left out 1 of 64 tokens …")
            expect(button).to_have_accessible_name("Stop")
            expect(page.locator(".gs-why-more")).to_be_disabled()
            assert place_of(page, ".gs-why-button") == before
            stop()
            expect(button).to_have_accessible_name("Ask why")
            expect(button).to_be_focused()
            asked = "Asked with “each token” and “no other candidate”. “Ask why” starts again from the first part."
            expect(page.locator(".gs-without-asked")).to_have_text(f"Stopped after 1 of 64 tokens. {asked}")
            assert place_of(page, ".gs-why-button") == before
            engine.gate.set()
            page.wait_for_selector('[data-ask="why"][aria-disabled="false"]')


def test_the_larger_question_is_stopped_from_the_tab(visit: Visit) -> None:
    """Its own button is disabled meanwhile, so the keyboard goes to the other."""
    engine = Gated()
    with first_of_two_steps(visit, page_over(engine), "ab" * 50) as page:
        button, more = page.locator(".gs-why-button"), page.locator(".gs-why-more")
        engine.read.clear()
        expect(page.locator("#run")).to_be_enabled()  # a little after the run's last step
        expect(frames_later(page).locator(".gs-why-more")).to_be_enabled()
        more.press("Enter")
        expect(button).to_be_focused()
        expect(page.locator(".gs-without-progress")).to_have_text("Left out 1 of 100 tokens …")
        expect(more).to_be_disabled()
        page.locator("#gs-tab-why").press("Escape")
        expect(button).to_have_accessible_name("Ask why")
        expect(page.locator(".gs-without-asked")).to_contain_text("Stopped after 1 of 100 tokens.")
        engine.gate.set()


def test_beside_another_step_stands_whose_question_it_is(visit: Visit) -> None:
    """And not how far it has come."""
    engine = Gated()
    with first_of_two_steps(visit, page_over(engine), "ab" * 50) as page:
        button, progress = page.locator(".gs-why-button"), page.locator(".gs-without-progress")
        engine.read.clear()
        button.click()
        expect(progress).to_have_text("Left out 1 of 64 tokens …")
        page.locator(".gs-strip").press("ArrowRight")
        expect(progress).to_be_hidden()
        elsewhere = page.locator(".gs-why-elsewhere")
        expect(elsewhere).to_have_text(
            "The model is being asked about step 1. To ask about this one, press Stop, then “Ask why”."
        )
        expect(button).to_have_accessible_name("Stop")
        page.locator(".gs-strip").press("ArrowLeft")
        expect(progress).to_be_visible()
        expect(elsewhere).to_be_hidden()
        engine.gate.set()


def test_a_second_click_does_not_stop_what_the_first_has_asked(visit: Visit) -> None:
    engine = Gated()
    blocks = page_over(engine)
    with first_of_two_steps(visit, blocks, "Transformers") as page:
        engine.read.clear()
        page.locator(".gs-why-button").dblclick(delay=100)
        expect(page.locator(".gs-without-progress")).to_have_text("Left out 1 of 12 tokens …")
        engine.gate.set()
        expect(page.locator(".gs-part-of-text")).to_have_count(12)


def test_what_is_asked_right_after_stop_is_not_lost(visit: Visit) -> None:
    """Gradio drops a question while the server has not yet ended the one that was stopped."""
    engine = Gated()
    blocks = page_over(engine)
    with first_of_two_steps(visit, blocks, "Transformers") as page:
        engine.read.clear()
        page.locator(".gs-why-button").click()
        expect(page.locator(".gs-without-progress")).to_have_text("Left out 1 of 12 tokens …")
        page.evaluate("""async () => {
            const press = (selector) => document.querySelector(selector).click();
            press(".gs-why-button");
            for (let frame = 0; frame < 4; frame++) await new Promise(requestAnimationFrame);
            press(".gs-chip[data-step='1']");
            press("[data-ask='openWhy']");
        }""")
        engine.gate.set()
        expect(page.locator(".gs-part-of-text")).to_have_count(13)
