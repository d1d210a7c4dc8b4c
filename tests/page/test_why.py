"""Why this token, on the page over the real starter: the question of every class, in the engine's own numbers."""

import html
import math
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

import app as application
import decoding
from decoding.engines.local_engine import LocalEngine
from decoding.export import to_csv_file, to_html
from decoding.page import AdmissionQueue, build_page
from decoding.questions.verify import parse_run
from decoding.record.step import StepScores
from decoding.record.trace import Trace
from decoding.record.why import Lens
from decoding.serving.admission import MAX_LONG, Visitor
from decoding.serving.model_registry import ModelRegistry
from tests.browser import Visit, served
from tests.fakes import ScriptedEngine
from tests.page.test_accessibility import COLOURS, EVERY, violations
from tests.waiting import until

PROMPT = "The capital of France is"
BRANCH_IS_STORED = """() => Object.entries(sessionStorage).some(
    ([name, run]) => name.startsWith("greedyscope.kept.run.") && run.split("\\n")[0].includes('"kind":"branch"')
)"""
SHARE = 5e-4
"""Two decimals of a percentage, and the noise of another order of sums."""


@pytest.fixture(scope="module")
def url(starter: LocalEngine) -> Iterator[str]:
    with served(application.build_app(lambda name, report: starter, ["starter"])) as address:
        yield address


@pytest.fixture(scope="module")
def greedy(starter: LocalEngine) -> Trace:
    return decoding.trace(starter, PROMPT, max_new_tokens=2, top_k=5)


def press_run(page: Page, prompt: str, steps: str) -> None:
    page.fill("#prompt textarea", prompt)
    page.fill("#steps input", steps)
    page.click("#run")


def asked(page: Page) -> Page:
    """The run on screen, asked about at its first step in two clicks, after which both answers are in sight."""
    page.locator(".gs-chip[data-step='0']").click()
    page.locator('[data-ask="openWhy"]').click()
    page.wait_for_selector(".gs[aria-busy=false] .gs-lens-name")
    expect(page.locator(".gs-part-of-text")).to_have_count(5)
    for seen in (".gs-part-of-text:has-text('France')", ".gs-lens-status"):
        expect(page.locator(seen)).to_be_in_viewport()
    return page


def shares(texts: list[str]) -> list[float]:
    return [float(text.split(" %")[0].split("(")[-1]) / 100 for text in texts]


def test_why_paris(url: str, visit: Visit, starter: LocalEngine, greedy: Trace, tmp_path: Path) -> None:
    page = visit(f"{url}?language=en")
    press_run(page, PROMPT, "2")
    expect(page.locator(".gs-state")).to_contain_text("2 steps, done")
    asked(page)
    # 1. Without each part, in the library's numbers; what changes most stands in words.
    left_out = decoding.leave_one_out(starter, greedy, 0)
    page.locator(".gs-without-more summary").click()
    rows = page.locator(".gs-without-more tbody tr")
    expect(rows).to_have_count(5)
    after = shares(rows.locator("td:nth-of-type(1)").all_inner_texts())
    assert after == pytest.approx([part.probability for part in left_out.parts], abs=SHARE)
    france = page.locator(".gs-part-of-text", has_text="France")
    france.focus()
    expect(page.locator(".gs-without-status")).to_contain_text("Without ·France: 77.25 % → 0.18 % (÷ 4")
    expect(page.locator(".gs-without-status")).to_contain_text("would be picked instead.")
    # The parts have different colours: the stronger, the more times the probability falls without the part.
    shades = {
        chip.locator(".gs-chip-text").inner_text(): float(
            chip.evaluate("chip => chip.style.getPropertyValue('--shade')")
        )
        for chip in page.locator(".gs-part-of-text").all()
    }
    assert shades["·France"] > 1.5 * max(shades["The"], shades["·of"])
    expect(france.locator(".gs-change")).to_have_text("0.18 %")
    # 2. Every layer, the last first.
    lens = decoding.lens(starter, greedy, 0)
    expect(page.locator(".gs-lens-status")).to_have_text("·Paris is in the lead from layer 30 of 30 on.")
    page.locator(".gs-lens-numbers summary").click()
    leaders = page.locator(".gs-lens-map tbody td:nth-of-type(1)").all_inner_texts()
    assert shares([text.rsplit(" ", 2)[-2] + " %" for text in leaders]) == pytest.approx(
        [layer.leader.probability for layer in reversed(lens.layers)], abs=SHARE
    )
    # 3. Against another candidate, by words, and another step: each stays with its own.
    page.select_option(".gs-why-against", label="·London")
    page.select_option(".gs-why-by", "words")
    page.locator('[data-ask="why"]').click()
    page.wait_for_selector(".gs[aria-busy=false] .gs-without-lead:has-text('ln p(·Paris) − ln p(·London)')")
    page.locator(".gs-strip").press("ArrowRight")
    expect(page.locator(".gs-without-status")).to_have_text("Nothing has been left out before this step yet.")
    page.locator(".gs-strip").press("ArrowLeft")
    expect(page.locator(".gs-part-of-text")).to_have_count(5)
    # 4. Kept with the run, and shown by a file that has no server.
    page.locator("#gs-tab-keep").press("Enter")
    with page.expect_download() as download:
        page.locator('[data-file="jsonl"]').click()
    kept = parse_run(Path(download.value.path()).read_bytes())
    assert [type(one).__name__ for one in kept.why] == ["Lens", "LeaveOneOut"]
    assert kept.generated_token_ids == greedy.generated_token_ids
    assert isinstance(kept.why[0], Lens)
    assert kept.why[0].tokens[1].text == " London"  # what it was compared with
    assert math.exp(kept.why[0].layers[-1].logprobs[0]) == pytest.approx(greedy.steps[0].picked.probability, abs=2e-5)
    file = tmp_path / "run.html"
    file.write_text(to_html(kept), "utf-8")
    shown = visit(file.as_uri())
    shown.locator("#gs-tab-why").press("Enter")
    shown.locator(".gs-strip").press("Home")
    expect(shown.locator(".gs-lens-status")).to_have_text("·Paris is in the lead from layer 30 of 30 on.")
    expect(shown.locator(".gs-part-of-text")).to_have_count(5)
    expect(shown.locator('[data-ask="why"]')).to_have_count(0)
    # 5. In Korean, on a phone, in the dark.
    page.locator("#gs-tab-why").press("Enter")
    page.locator('[data-language="ko"]').first.press("Enter")
    expect(page.locator(".gs-lens-status")).to_have_text("전체 30개 층 가운데 30층부터 ·Paris 토큰이 앞섭니다.")
    assert violations(page, EVERY) == []
    page.set_viewport_size({"width": 390, "height": 844})
    page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert violations(page, COLOURS) == []


def test_answers_stay_with_their_own_run(url: str, visit: Visit, tmp_path: Path) -> None:
    page = visit(url)
    press_run(page, PROMPT, "2")
    expect(page.locator(".gs-state")).to_contain_text("2 steps, done")
    asked(page)
    leads = "·Paris is in the lead from layer 30 of 30 on."
    parts, said = page.locator(".gs-part-of-text:visible"), page.locator(".gs-lens-status")
    # 1. Every file has both tables.
    page.locator("#gs-tab-keep").press("Enter")
    files = {form: saved(page, form, tmp_path) for form in ("jsonl", "csv", "md")}
    kept = parse_run(files["jsonl"].read_bytes())
    assert [type(one).__name__ for one in kept.why] == ["Lens", "LeaveOneOut"]
    assert files["csv"].read_bytes() == to_csv_file(kept)
    assert len(files["csv"].read_text("utf-8").split("\n\n")) == 3
    assert files["md"].read_text("utf-8") == kept.to_markdown()
    assert leads in files["md"].read_text("utf-8")
    # 2. A branch was not asked about, also after a reload, and the run that was has its answers back.
    page.locator("button.gs-bar").nth(1).click()
    expect(page.locator(".gs-chip[data-step='0']")).to_contain_text("·the")
    page.locator("#gs-tab-why").press("Enter")
    expect(said).to_have_text("No lens on this step has been made yet.")
    expect(parts).to_have_count(0)
    expect(page.locator(".gs-state")).to_contain_text("2 steps, done")
    page.wait_for_function(BRANCH_IS_STORED)  # in a task after the one that draws its end
    page.reload()
    expect(page.locator(".gs-step-title")).to_contain_text(" of 2: ·")
    page.locator(".gs-chip[data-step='0']").click()
    page.locator("#gs-tab-why").press("Enter")
    expect(said).to_have_text("No lens on this step has been made yet.")
    page.locator("#gs-tab-compare").press("Enter")
    page.locator('#gs-page-compare [data-ask="undo"]').click()
    expect(page.locator(".gs-chip[data-step='0']")).to_contain_text("·Paris")
    page.locator(".gs-chip[data-step='0']").click()
    page.locator("#gs-tab-why").press("Enter")
    expect(said).to_have_text(leads)
    expect(parts).to_have_count(5)
    # 3. So has the file that is opened again.
    page.locator("#gs-tab-keep").press("Enter")
    page.locator("#gs-page-keep [type=file]").set_input_files(files["jsonl"])
    page.locator("#gs-tab-compare").press("Enter")
    expect(page.locator("#gs-page-compare")).to_contain_text("run.jsonl")
    page.locator("#gs-tab-why").press("Enter")
    expect(said).to_have_text(leads)
    expect(parts).to_have_count(5)


def test_a_pick_that_argmax_did_not_make_is_not_picked_still(url: str, visit: Visit, starter: LocalEngine) -> None:
    page = visit(f"{url}?language=en")
    press_run(page, PROMPT, "2")
    expect(page.locator(".gs-state")).to_contain_text("2 steps, done")
    page.locator(".gs-chip[data-step='0']").click()
    page.locator(".gs-bars button", has_text="·the").click()
    expect(page.locator(".gs-forked")).to_contain_text("·the instead of ·Paris")
    asked(page)
    page.locator(".gs-part-of-text", has_text="of").focus()
    expect(page.locator(".gs-without-status")).to_contain_text("% (× 2.63). Argmax would then pick ·the.")


def saved(page: Page, form: str, folder: Path) -> Path:
    with page.expect_download() as download:
        page.locator(f'[data-file="{form}"]').click()
    download.value.save_as(folder / f"run.{form}")
    return folder / f"run.{form}"


def test_a_token_that_ends_an_emoji_has_one_name(url: str, visit: Visit, tmp_path: Path) -> None:
    page = visit(f"{url}?language=en")
    press_run(page, "한국의 수도는 🎉", "3")
    expect(page.locator(".gs-state")).to_contain_text("3 steps, done")
    page.locator(".gs-chip[data-step='2']").click()
    page.locator('[data-ask="openWhy"]').click()
    page.wait_for_selector(".gs[aria-busy=false] .gs-lens-name")
    name = "🎭⟨+AD⟩"
    expect(page.locator(".gs-why-step")).to_contain_text(f"why {name} (")
    expect(page.locator(".gs-lens-status")).to_contain_text(f"{name} is in the lead")
    expect(page.locator(".gs-lens-picture .gs-pick .gs-lens-name")).to_have_text(name)
    expect(page.locator(".gs-lens-map thead th").nth(2)).to_have_text(name)
    expect(page.locator(".gs-lens-map tbody td").first).to_contain_text(name)
    page.locator("#gs-tab-keep").press("Enter")
    answers = html.unescape(saved(page, "md", tmp_path).read_text("utf-8")).split("\n## ")[1]
    assert answers.count(name) >= 4  # heading, sentence, column and last row
    assert "⟨AD⟩" not in answers
    assert "⟨ED 95⟩한⟨+9C⟩" in answers


class Gated(ScriptedEngine):
    """From the second text that it scores on, it waits at a gate."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()

    def score(self, token_ids: Sequence[int], continuation_ids: Sequence[int], *, top_k: int) -> Iterator[StepScores]:
        found = super().score(token_ids, continuation_ids, top_k=top_k)
        if len(self.read) > 1:
            self.gate.wait(60)
        return found


class Slow(ScriptedEngine):
    """After its first step it waits at a gate."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()

    def steps(self, *args: Any, **options: Any) -> Iterator[Any]:
        for number, step in enumerate(super().steps(*args, **options)):
            if number:
                self.gate.wait(60)
            yield step


def test_while_a_run_is_written_it_says_when_a_model_can_be_asked(visit: Visit) -> None:
    engine = Slow()
    blocks = build_page(ModelRegistry(lambda name, report: engine, ["scripted"]), AdmissionQueue())
    with served(blocks) as address:
        page = visit(f"{address}?language=en")
        press_run(page, "abc", "2")
        expect(page.locator(".gs-prompt")).to_have_text("abc")
        page.locator('[data-ask="openWhy"]').click()
        status = page.locator(".gs-without-status")
        expect(status).to_have_text("A model can be asked once the run has been written, or stopped.")
        engine.gate.set()
        expect(status).to_have_text("Nothing has been left out before this step yet.")


def is_stopped(blocks: Any) -> bool:
    """Whether the server has heard of Stop."""
    return bool(blocks.health.registry.get_sample_value("greedyscope_runs_total", {"outcome": "stopped"}))


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
        # 3. Once it is finished, it takes that place.
        more.click()
        expect(parts).to_have_count(100)
        expect(more).to_be_disabled()
        assert top_of(page, ".gs-why-two") == top


def test_an_answer_says_what_it_was_asked_with(visit: Visit) -> None:
    blocks = build_page(ModelRegistry(lambda name, report: ScriptedEngine(), ["scripted"]), AdmissionQueue())
    with served(blocks) as address:
        page = visit(f"{address}?language=en")
        press_run(page, "a", "2")
        expect(page.locator(".gs-state")).to_contain_text("2 steps, done")
        page.locator(".gs-chip[data-step='0']").click()
        page.locator("#gs-tab-why").press("Enter")
        nothing = "Nothing can be left out before this step: the text has one token."
        expect(page.locator(".gs-without-status")).to_have_text(nothing)
        page.locator(".gs-strip").press("ArrowRight")
        expect(page.locator(".gs-without-status")).to_have_text("Nothing has been left out before this step yet.")
        other = page.locator(".gs-why-against")
        other.select_option(index=1)
        name = other.locator("option:checked").inner_text()
        page.locator('[data-ask="why"]').click()
        said, again = page.locator(".gs-without-asked"), "Press “Ask why” for what the fields say now."
        expect(said).to_have_text(f"Asked with “each token” and “{name}”.")
        page.wait_for_selector(".gs[aria-busy=false]")
        for field, chosen, back in ((".gs-why-by", "words", "tokens"), (".gs-why-against", "", other.input_value())):
            page.select_option(field, chosen)
            expect(said).to_have_text(f"Asked with “each token” and “{name}”. {again}")
            page.select_option(field, back)
            expect(said).to_have_text(f"Asked with “each token” and “{name}”.")
        page.locator(".gs-strip").press("ArrowLeft")
        expect(other).to_have_value("")
        page.locator(".gs-strip").press("ArrowRight")
        expect(other).not_to_have_value("")  # the field follows the step
        expect(said).to_have_text(f"Asked with “each token” and “{name}”.")
        page.select_option(".gs-why-against", "")
        page.locator('[data-language="ko"]').first.press("Enter")
        expect(said).to_contain_text(f"‘토큰 하나씩’, ‘{name}’ 조건으로 물은 답입니다.")
        expect(said).to_contain_text("지금 고른 대로 물으려면 ‘이유 묻기’ 단추를 누르세요.")
        expect(other).to_have_value("")


def test_enter_does_nothing_while_run_is_locked(visit: Visit) -> None:
    """As a click on the greyed button: the answer that is waited for would land in the other run."""
    engine = Gated()
    blocks = build_page(ModelRegistry(lambda name, report: engine, ["scripted"]), AdmissionQueue())
    with served(blocks) as address:
        page = visit(address)
        page.fill("#prompt textarea", "Transformers")
        page.fill("#steps input", "2")
        page.locator("#prompt textarea").press("Enter")  # while nothing is open, it runs
        expect(page.locator(".gs-state")).to_contain_text("2 steps, done")
        page.locator(".gs-chip[data-step='0']").click()
        engine.read.clear()
        page.locator('[data-ask="openWhy"]').click()
        expect(page.locator(".gs-why-ask .gs-word")).to_have_text("Left out 1 of 12 tokens …")
        page.fill("#prompt textarea", "Once")
        for key in ("Enter", "Control+Enter"):
            page.locator("#prompt textarea").press(key)
        page.wait_for_timeout(500)  # nothing comes of it
        expect(page.locator(".gs[aria-busy=true]")).to_have_count(1)
        expect(page.locator("#run")).to_be_disabled()
        expect(page.locator("#stop")).to_be_enabled()
        expect(page.locator(".gs-prompt")).to_have_text("Transformers")
        engine.gate.set()
        page.wait_for_selector(".gs[aria-busy=false]")
        expect(page.locator(".gs-part-of-text")).to_have_count(12)
        page.locator("#prompt textarea").press("Enter")
        expect(page.locator(".gs-prompt")).to_have_text("Once")


def test_a_line_of_another_question_is_dropped(visit: Visit) -> None:
    blocks = build_page(ModelRegistry(lambda name, report: ScriptedEngine(), ["scripted"]), AdmissionQueue())
    with served(blocks) as address:
        page = visit(address)
        press_run(page, "abc", "2")
        expect(page.locator(".gs-state")).to_contain_text("2 steps, done")
        page.locator(".gs-chip[data-step='0']").click()
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
