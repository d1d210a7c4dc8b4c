"""A question "why" that waits, grows, is stopped and asked again: what is said and shown, and that nothing moves."""

import re
from pathlib import Path

from playwright.sync_api import Page, expect

import app as application
from decoding.engines.local_engine import LocalEngine
from decoding.page import AdmissionQueue, build_page
from decoding.serving.admission import MAX_LONG, Visitor
from decoding.serving.model_registry import ModelRegistry
from tests.browser import Visit, served
from tests.page.why_questions import Gated, is_stopped, press_run, saved
from tests.waiting import until


def test_a_model_without_layers_says_so_and_the_question_waits_its_turn_and_can_be_stopped(
    visit: Visit, tmp_path: Path
) -> None:
    engine, queue = Gated(), AdmissionQueue()
    others = [queue.enter(Visitor(f"another {n}"), is_long=True) for n in range(MAX_LONG)]
    registry = ModelRegistry(lambda name, report: engine, ["scripted"])
    blocks = build_page(registry, queue)
    with served(blocks) as address:
        page = visit(address)
        press_run(page, "Transformers", "2")
        expect(page.locator(".gs-state")).to_contain_text("2 steps, done")
        page.locator(".gs-chip[data-step='0']").click()
        page.locator("#gs-tab-why").press("Enter")
        engine.read.clear()
        page.locator('[data-ask="why"]').click()
        said, stopped = page.locator(".gs-why-ask .gs-word"), page.locator(".gs-without-asked strong").first
        expect(said).to_have_text("You are next: your run begins as soon as another ends.")
        assert (queue.served, queue.waiting, engine.read) == (MAX_LONG, 1, [])
        queue.leave(others[0])
        expect(page.locator(".gs-lens-status")).to_contain_text("scripted does not run in this process")
        expect(said).to_have_text("Left out 1 of 12 tokens …")
        expect(page.locator(".gs-without-asked")).to_be_visible()
        expect(stopped).to_have_text("")  # the line above says it already
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


def top_of(page: Page, selector: str) -> float:
    """Where an element begins, from the top of its tab."""
    return float(
        page.evaluate(
            """(selector) => document.querySelector(selector).getBoundingClientRect().top
                - document.querySelector("#gs-page-why").getBoundingClientRect().top""",
            selector,
        )
    )


def test_a_finished_answer_stays_until_the_larger_one_is_finished(visit: Visit) -> None:
    engine = Gated()
    engine.gate.set()
    blocks = build_page(ModelRegistry(lambda name, report: engine, ["scripted"]), AdmissionQueue())
    with served(blocks) as address:
        page = visit(address)
        press_run(page, "ab" * 50, "2")
        expect(page.locator(".gs-state")).to_contain_text("2 steps, done")
        page.locator(".gs-chip[data-step='0']").click()
        page.locator("#gs-tab-why").press("Enter")
        parts, more = page.locator(".gs-part-of-text"), page.locator(".gs-why-more")
        page.set_viewport_size({"width": 390, "height": 844})  # where each button may be a line of its own
        top = top_of(page, ".gs-why-two")
        page.locator('[data-ask="why"]').click()
        expect(parts).to_have_count(64)
        page.wait_for_selector(".gs[aria-busy=false]")
        assert top_of(page, ".gs-why-two") == top
        # 1. The number of tokens before stands apart from the first of them.
        boxes = [page.locator(f".gs-without-text > :nth-child({n})").bounding_box() for n in (1, 2)]
        assert boxes[0]
        assert boxes[1]
        assert boxes[1]["x"] - boxes[0]["x"] - boxes[0]["width"] > 6
        # 2. While the larger one grows, and after Stop and a reload, the finished one is there; nothing has moved.
        verdict = page.locator(".gs-without-status").inner_text()
        engine.gate.clear()
        engine.read.clear()
        more.click()
        expect(page.locator(".gs-why-ask .gs-word")).to_have_text("Left out 1 of 100 tokens …")
        assert top_of(page, ".gs-why-two") == top
        expect(more).to_be_disabled()  # one question at a time
        expect(parts).to_have_count(64)
        page.click("#stop")
        page.wait_for_selector(".gs[aria-busy=false]")
        until(lambda: is_stopped(blocks))
        engine.gate.set()
        for _ in range(2):
            expect(parts).to_have_count(64)
            expect(page.locator(".gs-without-status")).to_have_text(verdict)
            expect(page.locator(".gs-without-asked")).to_have_text("Asked with “each token” and “no other candidate”.")
            expect(more).to_be_enabled()
            assert top_of(page, ".gs-why-two") == top
            page.reload()
            page.locator(".gs-chip[data-step='0']").click()
            page.locator("#gs-tab-why").press("Enter")
        # 3. Once it is finished, it takes that place, and the same question does not take it back.
        more.click()
        expect(parts).to_have_count(100)
        expect(more).to_be_disabled()
        assert top_of(page, ".gs-why-two") == top
        engine.read.clear()
        page.locator('[data-ask="why"]').click()
        page.wait_for_selector('[data-ask="why"][aria-disabled="false"]')
        assert len(engine.read) == 100
        expect(parts).to_have_count(100)


def place_of(page: Page, selector: str) -> list[float]:
    """An element's left edge, width and height, and where it begins in its tab."""
    box = page.locator(selector).bounding_box()
    assert box
    return [box["x"], box["width"], box["height"], top_of(page, selector)]


def test_ask_why_is_stop_while_the_answer_grows(visit: Visit) -> None:
    engine = Gated()
    blocks = build_page(ModelRegistry(lambda name, report: engine, ["scripted"]), AdmissionQueue())
    with served(blocks) as address:
        page = visit(f"{address}?language=en")
        press_run(page, "ab" * 50, "2")
        expect(page.locator(".gs-state")).to_contain_text("2 steps, done")
        page.locator(".gs-chip[data-step='0']").click()
        page.locator("#gs-tab-why").press("Enter")
        button, more, said = (page.locator(f".gs-why-{name}") for name in ("button", "more", "ask .gs-word"))
        before = place_of(page, ".gs-why-button")
        button.focus()
        for stop in (button.click, lambda: button.press("Escape"), lambda: button.press("Enter"), more.press):
            engine.gate.clear()
            engine.read.clear()
            if stop == more.press:
                more.press("Enter")
                expect(button).to_be_focused()  # the other is disabled
            else:
                button.press("Enter")
            expect(said).to_contain_text("Left out 1 of ")
            expect(button).to_have_accessible_name("Stop")
            expect(more).to_be_disabled()
            assert place_of(page, ".gs-why-button") == before
            # Beside another step stands whose question it is, and not how far it has come.
            page.locator(".gs-strip").press("ArrowRight")
            expect(said).to_be_hidden()
            expect(page.locator(".gs-why-elsewhere")).to_have_text(
                "The model is being asked about step 1. To ask about this one, press Stop, then “Ask why”."
            )
            expect(button).to_have_accessible_name("Stop")
            page.locator(".gs-strip").press("ArrowLeft")
            expect(said).to_be_visible()
            expect(page.locator(".gs-why-elsewhere")).to_be_hidden()
            button.focus()
            if stop == more.press:
                page.locator("#gs-tab-why").press("Escape")
            else:
                stop()
            expect(button).to_have_accessible_name("Ask why")
            if stop != more.press:
                expect(button).to_be_focused()
            asked = "Asked with “each token” and “no other candidate”. “Ask why” starts again from the first part."
            most = 100 if stop == more.press else 64
            expect(page.locator(".gs-without-asked")).to_have_text(f"Stopped after 1 of {most} tokens. {asked}")
            assert place_of(page, ".gs-why-button") == before
            engine.gate.set()
            page.wait_for_selector('[data-ask="why"][aria-disabled="false"]')


def test_a_second_click_does_not_stop_what_the_first_has_asked(visit: Visit) -> None:
    engine = Gated()
    blocks = build_page(ModelRegistry(lambda name, report: engine, ["scripted"]), AdmissionQueue())
    with served(blocks) as address:
        page = visit(address)
        press_run(page, "Transformers", "2")
        expect(page.locator(".gs-state")).to_contain_text("2 steps, done")
        page.locator(".gs-chip[data-step='0']").click()
        page.locator("#gs-tab-why").press("Enter")
        engine.read.clear()
        page.locator(".gs-why-button").dblclick(delay=100)
        expect(page.locator(".gs-why-ask .gs-word")).to_have_text("Left out 1 of 12 tokens …")
        engine.gate.set()
        expect(page.locator(".gs-part-of-text")).to_have_count(12)


def test_what_is_asked_right_after_stop_is_not_lost(visit: Visit) -> None:
    """Gradio drops a question while the server has not yet ended the one that was stopped."""
    engine = Gated()
    blocks = build_page(ModelRegistry(lambda name, report: engine, ["scripted"]), AdmissionQueue())
    with served(blocks) as address:
        page = visit(address)
        press_run(page, "Transformers", "2")
        expect(page.locator(".gs-state")).to_contain_text("2 steps, done")
        page.locator(".gs-chip[data-step='0']").click()
        page.locator("#gs-tab-why").press("Enter")
        engine.read.clear()
        page.locator(".gs-why-button").click()
        expect(page.locator(".gs-why-ask .gs-word")).to_have_text("Left out 1 of 12 tokens …")
        page.evaluate("""async () => {
            const press = (selector) => document.querySelector(selector).click();
            press(".gs-why-button");
            for (let frame = 0; frame < 4; frame++) await new Promise(requestAnimationFrame);
            press(".gs-chip[data-step='1']");
            press("[data-ask='openWhy']");
        }""")
        engine.gate.set()
        expect(page.locator(".gs-part-of-text")).to_have_count(13)


def test_of_a_long_text_the_strongest_part_is_in_sight(starter: LocalEngine, visit: Visit) -> None:
    prompt = "counting every step as he had done for forty years. " * 6 + "The capital of France is"
    with served(application.build_app(lambda name, report: starter, ["starter"])) as address:
        page = visit(f"{address}?language=en")
        press_run(page, prompt, "1")
        expect(page.locator(".gs-state")).to_contain_text("1 step, done")
        page.set_viewport_size({"width": 390, "height": 844})
        page.locator('[data-ask="openWhy"]').click()
        page.wait_for_selector(".gs[aria-busy=false] .gs-part-of-text >> nth=63")
        text = page.locator(".gs-without-text")
        strongest = page.locator(".gs-part-of-text[style*='--shade: 1;']")
        box, part = text.bounding_box(), strongest.bounding_box()
        assert box
        assert part
        assert box["y"] <= part["y"]
        assert part["y"] + part["height"] <= box["y"] + box["height"]
        # The edges show that there is more.
        expect(text).to_have_class(re.compile("gs-more-above"))
        text.evaluate("(box) => box.scrollTo(0, 0)")
        expect(text).not_to_have_class(re.compile("gs-more-above"))
        expect(text).to_have_class(re.compile("gs-more-below"))
