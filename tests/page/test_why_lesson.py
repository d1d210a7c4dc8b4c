"""The lesson's two examples of "Why?": one click runs each and asks about its first step, if the reader stays."""

from playwright.sync_api import expect

import app as application
from decoding.engines.local_engine import LocalEngine
from decoding.page import AdmissionQueue, build_page
from decoding.serving.model_registry import ModelRegistry
from tests.browser import Visit, frames_later, served
from tests.fakes import ScriptedEngine
from tests.page.why_questions import Slow

TRY = ".gs-why-lesson button >> nth=0"


def test_the_lessons_examples_are_tried_by_one_click(starter: LocalEngine, visit: Visit) -> None:
    """The fields held another prompt and other numbers before."""
    with served(application.build_app(lambda name, report: starter, ["starter"])) as address:
        page = visit(f"{address}?language=ko")
        for number, prompt, title in (
            (0, "Tom and Jerry went home. Tom and", "1단계: 왜 ·Jerry (48.32 %)일까요?"),
            (1, "One, two, three,", "1단계: 왜 ·four (58.07 %)일까요?"),
        ):
            page.fill("#prompt textarea", "abc")
            page.locator("#gs-tab-lesson").press("Enter")
            buttons = page.locator(".gs-why-lesson button")
            expect(buttons).to_have_text(["해 보기", "해 보기"])
            assert [prompt in text for text in page.locator(".gs-why-lesson p").all_inner_texts()].index(True) == number
            buttons.nth(number).click()
            expect(page.locator(".gs-why-step")).to_have_text(title)
            expect(page.locator("#prompt textarea")).to_have_value(prompt)
            page.wait_for_selector(".gs[aria-busy=false] .gs-lens-name")
            expect(page.locator(".gs-without-text")).to_be_in_viewport()
            expect(page.locator(".gs-lens-status")).to_contain_text("30층부터")


def test_a_reader_who_has_gone_on_is_not_brought_back(visit: Visit) -> None:
    engine = Slow("starter")
    with served(application.build_app(lambda name, report: engine, ["starter"])) as address:
        page = visit(f"{address}?language=en")
        page.locator("#gs-tab-lesson").press("Enter")
        page.click(TRY)
        expect(page.locator(".gs-state")).to_contain_text("Step 1 of 8")
        page.locator("#gs-tab-keep").press("Enter")
        engine.gate.set()
        expect(page.locator(".gs-state")).to_contain_text("8 steps, done")
        expect(page.locator("#run")).to_be_enabled()
        expect(frames_later(page).locator("#gs-tab-keep")).to_have_attribute("aria-selected", "true")
        page.locator("#gs-tab-why").press("Enter")
        expect(page.locator(".gs-without-status")).to_have_text("Nothing has been left out before this step yet.")


def test_without_the_starter_the_lesson_tries_nothing(visit: Visit) -> None:
    blocks = build_page(ModelRegistry(lambda name, report: ScriptedEngine(), ["scripted"]), AdmissionQueue())
    with served(blocks) as address:
        page = visit(address)
        page.locator("#gs-tab-lesson").press("Enter")
        expect(page.locator(".gs-why-lesson p").first).to_be_visible()
        expect(page.locator(".gs-why-lesson button:visible")).to_have_count(0)
