"""Why this token, on the page over the real starter: the question of every class, in the engine's own numbers."""

import html
import math
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

import app as application
import decoding
from decoding.engines.local_engine import LocalEngine
from decoding.export import to_csv_file, to_html
from decoding.i18n import translate
from decoding.questions.verify import parse_run
from decoding.record.trace import Trace
from decoding.record.why import Lens
from tests.browser import Visit, frames_later, served
from tests.page.why_questions import press_run, saved

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


def asked(page: Page) -> Page:
    """The run on screen, asked about at its first step in two clicks, after which both answers are in sight."""
    page.locator(".gs-chip[data-step='0']").click()
    page.locator('[data-ask="openWhy"]').click()
    page.wait_for_selector(".gs[aria-busy=false] .gs-lens-name")
    expect(page.locator(".gs-part-of-text")).to_have_count(5)
    for seen in (".gs-part-of-text:has-text('France')", ".gs-lens-status"):
        expect(page.locator(seen)).to_be_in_viewport()
    return page


def run_and_asked(visit: Visit, url: str) -> Page:
    page = visit(f"{url}?language=en")
    press_run(page, PROMPT, "2")
    expect(page.locator(".gs-state")).to_contain_text("2 steps, done")
    return asked(page)


def test_two_clicks_are_not_answered_by_nothing_yet(url: str, visit: Visit) -> None:
    """A screen reader would read it out before the answer."""
    page = visit(f"{url}?language=en")
    press_run(page, PROMPT, "2")
    expect(page.locator(".gs-state")).to_contain_text("2 steps, done")
    expect(page.locator("#run")).to_be_enabled()
    page.evaluate("""() => {
        window.read = [];
        const read = (changes) => { for (const { target } of changes) window.read.push(target.textContent); };
        for (const line of document.querySelectorAll(".gs-without-status, .gs-lens-status")) {
            new MutationObserver(read).observe(line, { childList: true, characterData: true, subtree: true });
        }
    }""")
    asked(page)
    heard = page.evaluate("window.read")
    assert heard
    assert not {translate("why.without.none"), translate("why.lens.none")} & set(heard)


def shares(texts: list[str]) -> list[float]:
    return [float(text.split(" %")[0].split("(")[-1]) / 100 for text in texts]


def test_without_each_part_in_the_librarys_numbers(url: str, visit: Visit, starter: LocalEngine, greedy: Trace) -> None:
    """What changes most stands in words."""
    page = run_and_asked(visit, url)
    left_out = decoding.leave_one_out(starter, greedy, 0)
    page.locator(".gs-without-more summary").click()
    rows = page.locator(".gs-without-more tbody tr")
    expect(rows).to_have_count(5)
    after = shares(rows.locator("td:nth-of-type(1)").all_inner_texts())
    assert after == pytest.approx([part.probability for part in left_out.parts], abs=SHARE)
    france = page.locator(".gs-part-of-text", has_text="France")
    france.focus()
    expect(page.locator(".gs-without-point")).to_contain_text("Without ·France: 77.25 % → 0.18 % (÷ 4")
    expect(page.locator(".gs-without-point")).to_contain_text("would be picked instead.")
    # The parts have different colours: the stronger, the more times the probability falls without the part.
    shades = {
        chip.locator(".gs-chip-text").inner_text(): float(
            chip.evaluate("chip => chip.style.getPropertyValue('--shade')")
        )
        for chip in page.locator(".gs-part-of-text").all()
    }
    assert shades["·France"] > 1.5 * max(shades["The"], shades["·of"])
    expect(france.locator(".gs-change")).to_have_text("0.18 %")


def test_every_layer_in_the_librarys_numbers(url: str, visit: Visit, starter: LocalEngine, greedy: Trace) -> None:
    """The last first."""
    page = run_and_asked(visit, url)
    lens = decoding.lens(starter, greedy, 0)
    expect(page.locator(".gs-lens-status")).to_have_text("·Paris is in the lead from layer 30 of 30 on.")
    page.locator(".gs-lens-numbers summary").click()
    leaders = page.locator(".gs-lens-map tbody td:nth-of-type(1)").all_inner_texts()
    assert shares([text.rsplit(" ", 2)[-2] + " %" for text in leaders]) == pytest.approx(
        [layer.leader.probability for layer in reversed(lens.layers)], abs=SHARE
    )


def test_an_answer_against_another_candidate_is_kept_with_its_step(
    url: str, visit: Visit, greedy: Trace, tmp_path: Path
) -> None:
    page = run_and_asked(visit, url)
    # 1. By words, and at another step: each stays with its own.
    page.select_option(".gs-why-against", label="·London")
    page.select_option(".gs-why-by", "words")
    page.locator('[data-ask="why"]').click()
    page.wait_for_selector(".gs[aria-busy=false] .gs-without-lead:has-text('ln p(·Paris) − ln p(·London)')")
    page.locator(".gs-strip").press("ArrowRight")
    expect(page.locator(".gs-without-status")).to_have_text("Nothing has been left out before this step yet.")
    page.locator(".gs-strip").press("ArrowLeft")
    expect(page.locator(".gs-part-of-text")).to_have_count(5)
    # 2. Kept with the run, and shown by a file that has no server.
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


def test_answers_stay_with_their_own_run(url: str, visit: Visit, tmp_path: Path) -> None:
    page = run_and_asked(visit, url)
    leads = "·Paris is in the lead from layer 30 of 30 on."
    parts, status = page.locator(".gs-part-of-text:visible"), page.locator(".gs-lens-status")
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
    expect(status).to_have_text("No lens on this step has been made yet.")
    expect(parts).to_have_count(0)
    expect(page.locator(".gs-state")).to_contain_text("2 steps, done")
    page.wait_for_function(BRANCH_IS_STORED)  # in a task after the one that draws its end
    page.reload()
    expect(page.locator(".gs-step-title")).to_contain_text(" of 2: ·")
    page.locator(".gs-chip[data-step='0']").click()
    page.locator("#gs-tab-why").press("Enter")
    expect(status).to_have_text("No lens on this step has been made yet.")
    page.locator("#gs-tab-compare").press("Enter")
    page.locator('#gs-page-compare [data-ask="undo"]').click()
    expect(page.locator(".gs-chip[data-step='0']")).to_contain_text("·Paris")
    page.locator(".gs-chip[data-step='0']").click()
    page.locator("#gs-tab-why").press("Enter")
    expect(status).to_have_text(leads)
    expect(parts).to_have_count(5)
    # 3. So has the file that is opened again.
    page.locator("#gs-tab-keep").press("Enter")
    page.locator("#gs-page-keep [type=file]").set_input_files(files["jsonl"])
    page.locator("#gs-tab-compare").press("Enter")
    expect(page.locator("#gs-page-compare")).to_contain_text("run.jsonl")
    page.locator("#gs-tab-why").press("Enter")
    expect(status).to_have_text(leads)
    expect(parts).to_have_count(5)


def test_a_pick_that_argmax_did_not_make_is_not_picked_still(url: str, visit: Visit, starter: LocalEngine) -> None:
    page = visit(f"{url}?language=en")
    press_run(page, PROMPT, "2")
    expect(page.locator(".gs-state")).to_contain_text("2 steps, done")
    page.locator(".gs-chip[data-step='0']").click()
    expect(page.locator(".gs-strip")).to_have_attribute("aria-valuenow", "1")
    page.locator(".gs-bars button", has_text="·the").click()
    expect(page.locator(".gs-forked")).to_contain_text("·the instead of ·Paris")
    asked(page)
    expect(page.locator(".gs-lens-status")).to_have_text(
        "·the does not lead in the last of the 30 layers: argmax would pick ·Paris (77.25 %)."
    )
    page.locator(".gs-part-of-text", has_text="of").focus()
    expect(page.locator(".gs-without-point")).to_contain_text("% (× 2.63). Argmax would then pick ·the.")


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
    assert "| 한 |" in answers


def test_of_a_long_text_the_strongest_part_is_in_sight(url: str, visit: Visit) -> None:
    prompt = "counting every step as he had done for forty years. " * 6 + "The capital of France is"
    page = visit(f"{url}?language=en")
    press_run(page, prompt, "1")
    expect(page.locator(".gs-state")).to_contain_text("1 step, done")
    page.set_viewport_size({"width": 390, "height": 844})
    page.locator('[data-ask="openWhy"]').click()
    page.wait_for_selector(".gs[aria-busy=false] .gs-part-of-text >> nth=63")
    expect(page.locator(".gs-without-status")).not_to_be_empty()
    text = page.locator(".gs-without-text")
    strongest = page.locator(".gs-part-of-text[style*='--shade: 1;']")
    frames_later(page)
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
