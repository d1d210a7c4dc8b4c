"""Asking why: what the fields ask for, whose answer a line is, and what is said where nothing can be asked."""

from playwright.sync_api import expect

from decoding.assets import texts
from tests.browser import Visit, frames_later, served
from tests.fakes import ScriptedEngine
from tests.page.why_questions import Gated, Slow, first_of_two_steps, page_over, press_run


def test_while_a_run_is_written_it_says_when_a_model_can_be_asked(visit: Visit) -> None:
    engine = Slow()
    with served(page_over(engine)) as address:
        page = visit(f"{address}?language=en")
        press_run(page, "abc", "2")
        expect(page.locator(".gs-prompt")).to_have_text("abc")
        page.locator('[data-ask="openWhy"]').click()
        status = page.locator(".gs-without-status")
        expect(status).to_have_text("You can ask why once the run has ended or been stopped.")
        expect(page.locator(".gs-lens")).to_be_hidden()  # it is said once
        expect(page.locator(".gs-why-button")).to_be_disabled()
        engine.gate.set()
        expect(status).to_have_text("Nothing has been left out before this step yet.")


def test_an_answer_says_what_it_was_asked_with(visit: Visit) -> None:
    with first_of_two_steps(visit, page_over(ScriptedEngine()), "a") as page:
        nothing = "Nothing can be left out before this step: the text has one token."
        expect(page.locator(".gs-without-status")).to_have_text(nothing)
        page.locator(".gs-strip").press("ArrowRight")
        expect(page.locator(".gs-without-status")).to_have_text("Nothing has been left out before this step yet.")
        other = page.locator(".gs-why-against")
        other.select_option(index=1)
        name = other.locator("option:checked").inner_text()
        page.locator('[data-ask="why"]').click()
        asked_with, again = page.locator(".gs-without-asked"), "Press “Ask why” for what the fields say now."
        expect(asked_with).to_have_text(f"Asked with “each token” and “{name}”.")
        page.wait_for_selector(".gs[aria-busy=false]")
        for field, chosen, back in ((".gs-why-by", "words", "tokens"), (".gs-why-against", "", other.input_value())):
            page.select_option(field, chosen)
            expect(asked_with).to_have_text(f"Asked with “each token” and “{name}”. {again}")
            page.select_option(field, back)
            expect(asked_with).to_have_text(f"Asked with “each token” and “{name}”.")
        page.locator(".gs-strip").press("ArrowLeft")
        expect(other).to_have_value("")
        page.locator(".gs-strip").press("ArrowRight")
        expect(other).not_to_have_value("")  # the field follows the step
        expect(asked_with).to_have_text(f"Asked with “each token” and “{name}”.")
        page.select_option(".gs-why-against", "")
        page.locator('[data-language="ko"]').first.press("Enter")
        expect(asked_with).to_contain_text(f"‘토큰 하나씩’, ‘{name}’ 조건으로 물은 답입니다.")
        expect(asked_with).to_contain_text("지금 고른 대로 물으려면 ‘이유 묻기’ 단추를 누르세요.")
        expect(other).to_have_value("")


def test_enter_does_nothing_while_run_is_locked(visit: Visit) -> None:
    """As a click on the greyed button: the answer that is waited for would land in the other run."""
    engine = Gated()
    with served(page_over(engine)) as address:
        page = visit(address)
        page.fill("#prompt textarea", "Transformers")
        page.fill("#steps input", "2")
        page.locator("#prompt textarea").press("Enter")  # while nothing is open, it runs
        expect(page.locator(".gs-state")).to_contain_text("2 steps, done")
        page.locator(".gs-chip[data-step='0']").click()
        engine.read.clear()
        page.locator('[data-ask="openWhy"]').click()
        expect(page.locator(".gs-without-progress")).to_have_text("Left out 1 of 12 tokens …")
        page.fill("#prompt textarea", "Once")
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url) if "/queue/join" in request.url else None)
        for key in ("Enter", "Control+Enter"):
            page.locator("#prompt textarea").press(key)
        expect(page.locator(".gs[aria-busy=true]")).to_have_count(1)
        expect(page.locator("#run")).to_be_disabled()
        expect(page.locator("#stop")).to_be_enabled()
        expect(page.locator(".gs-prompt")).to_have_text("Transformers")
        engine.gate.set()
        page.wait_for_selector(".gs[aria-busy=false]")
        expect(page.locator(".gs-part-of-text")).to_have_count(12)
        expect(page.locator("#run")).to_be_enabled()
        assert asked == []
        assert len(engine.read) == 12, "no run has begun"
        page.locator("#prompt textarea").press("Enter")
        expect(page.locator(".gs-prompt")).to_have_text("Once")


def test_a_line_of_another_question_is_dropped(visit: Visit) -> None:
    with first_of_two_steps(visit, page_over(ScriptedEngine()), "abc") as page:
        page.locator('[data-ask="openWhy"]').click()
        page.wait_for_selector(".gs[aria-busy=false] .gs-part-of-text")
        expect(page.locator(".gs-part-of-text")).to_have_count(3)
        page.locator(".gs-chip[data-step='1']").click()
        page.locator('[data-ask="why"]').click()
        expect(page.locator(".gs-part-of-text")).to_have_count(4)
        page.wait_for_selector(".gs[aria-busy=false]")
        page.evaluate("""() => {
            const picked = { token_id: 1, text: "x", probability: 1, logprob: 0, rank: 0 };
            const parts = [{ first: 0, count: 4, logprob: -1, rank: 0, instead: picked }];
            const line = JSON.stringify({ leave_one_out: { step: 1, by: "tokens", picked, parts } });
            const answer = (number) => new CustomEvent("why", { detail: { line, number } });
            for (const number of ["1", undefined]) document.querySelector(".gs").dispatchEvent(answer(number));
        }""")
        page.locator(".gs-strip").press("ArrowLeft")
        page.locator(".gs-strip").press("ArrowRight")
        expect(page.locator(".gs-part-of-text")).to_have_count(4)


def test_one_token_more_than_usual_is_left_out_too(visit: Visit) -> None:
    with first_of_two_steps(visit, page_over(ScriptedEngine()), "a" * 65) as page:
        page.locator(".gs-why-button").click()
        expect(page.locator(".gs-part-of-text")).to_have_count(65)
        expect(page.locator(".gs-why-more")).to_be_hidden()


def test_another_candidate_stays_with_its_step(visit: Visit) -> None:
    with first_of_two_steps(visit, page_over(ScriptedEngine()), "abc") as page:
        page.locator(".gs-strip").press("ArrowRight")
        other = frames_later(page).locator(".gs-why-against")  # before, it would be chosen for the step that was left
        other.select_option(index=1)
        chosen = other.input_value()
        for key, expected in (("ArrowLeft", ""), ("ArrowRight", chosen)):
            page.locator(".gs-strip").press(key)
            expect(other).to_have_value(expected)
        page.locator('[data-language="ko"]').first.press("Enter")
        expect(page.locator(".gs-why-ask")).to_contain_text("이유 묻기")
        expect(other).to_have_value(chosen)


def test_a_printed_run_without_ids_says_that_no_model_can_be_asked(visit: Visit) -> None:
    """In both halves; the book's table stands on the first page."""
    sentences = {language: texts()[language]["server.why_token.no_ids"] for language in ("en", "ko")}
    with served(page_over(ScriptedEngine())) as address:
        page = visit(f"{address}?language=en")
        page.get_by_text(texts()["en"]["recorded.gpt2_xl_notebook_table"]).click()
        expect(page.locator(".gs-note")).to_be_visible()
        for step in (0, 3):
            page.locator(f".gs-chip[data-step='{step}']").click()
            page.locator('[data-ask="openWhy"]').click()
            for language in ("en", "ko"):
                page.locator(f'[data-language="{language}"]').first.press("Enter")
                for half in ("without", "lens"):
                    expect(page.locator(f".gs-{half}-status")).to_have_text(sentences[language])
            expect(page.locator(".gs-why-button")).to_be_disabled()
