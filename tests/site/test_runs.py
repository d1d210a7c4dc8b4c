"""Runs of the static site in a real Chromium: the references' ids and probabilities, and what the library writes."""

import json
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, expect

import decoding
from decoding.__main__ import check
from decoding.engines.local_engine import LocalEngine
from decoding.questions.beam_search import beam_search
from decoding.questions.branches import branch
from decoding.questions.text_scores import score
from decoding.record.trace import Trace
from decoding.record.why import LeaveOneOut, Lens
from decoding.requests.run_request import check_request
from decoding.run import Run
from tests.browser import frames_later
from tests.fakes import NASTY
from tests.page.test_accessibility import COLOURS, EVERY, violations
from tests.site.serving import (
    NOISE,
    Server,
    differences,
    kept,
    opened,
    run,
    serving,
    site_folder,
    wait_idle,
    wait_ready,
)

__all__ = ["site_folder"]

REFERENCES = sorted((Path(__file__).parents[1] / "reference" / "starter").glob("*.json"))
HOSTILE = "<script>document.title='hit'</script><img src=x onerror=\"document.title='hit'\"> {panel}"


@pytest.fixture(scope="module")
def page(browser: Browser, site_folder: Path) -> Iterator[Page]:
    """The site with its model loaded. At the end, nothing may have gone wrong in it, and nobody else was asked."""
    with serving(site_folder) as server, opened(browser) as (page, complaints):
        page.on("request", lambda asked: None if _is_here(asked.url, server) else complaints.append(asked.url))
        page.goto(server.url)
        wait_ready(page)
        yield page
        assert not complaints, complaints


def _is_here(url: str, server: Server) -> bool:
    return url.startswith((server.url, "blob:", "data:"))


@pytest.mark.parametrize("path", REFERENCES, ids=lambda path: path.stem)
def test_every_reference_and_the_library(page: Page, starter: LocalEngine, path: Path) -> None:
    reference = json.loads(path.read_text("utf-8"))
    prompt, steps = reference["prompt"], len(reference["steps"])
    run(page, prompt, steps, 10)
    written = kept(page)
    trace = Trace.from_jsonl(written)
    assert list(trace.prompt_token_ids) == reference["prompt_token_ids"]
    assert trace.generated_token_ids == tuple(step["token_id"] for step in reference["steps"])
    for step, expected in zip(trace.steps, reference["steps"], strict=True):
        found = {candidate.token_id: candidate.probability for candidate in step.candidates}
        for choice in expected["choices"]:
            if choice["token_id"] in found:
                assert abs(found[choice["token_id"]] - choice["prob"]) < NOISE
    ours = Run(starter, check_request(prompt, steps, 10))
    assert len(list(ours)) == steps
    assert differences(written, ours.trace) == []
    assert trace.model.device.startswith("this browser · WebAssembly (")
    assert trace.model.engine.startswith("onnxruntime-web ")


def test_a_hostile_prompt_is_text_and_its_run_is_checked(
    page: Page, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(page, HOSTILE, 3, 2)
    file = tmp_path / "run.jsonl"
    file.write_text(kept(page), "utf-8")
    assert page.title() != "hit"
    assert Trace.from_jsonl(file.read_text("utf-8")).prompt == HOSTILE
    assert check([str(file), "--recompute"]) == 0
    assert "still gives its tokens" in capsys.readouterr().out


def test_the_same_ids_as_the_librarys_tokenizer(page: Page, starter: LocalEngine, site_folder: Path) -> None:
    dice = random.Random(21)
    blocks = [(0x20, 0x7E), (0, 0x2FF), (0x300, 0x36F), (0x2000, 0x206F), (0xAC00, 0xD7A3), (0x1F300, 0x1FAFF)]
    strings = [*NASTY.values(), "", "a\x85b \ufeff c", "\U000bd000\U000bd000x"]
    while len(strings) < 5_000:
        block = dice.choice([*blocks, (0, 0x10FFFF)])
        letters = (chr(dice.randint(*block)) for _ in range(dice.randint(1, 24)))
        strings.append("".join(letter for letter in letters if not "\ud800" <= letter <= "\udfff"))
    files = [next((site_folder / "model").glob(f"{name}-*.json")).name for name in ("tokenizer", "vocabulary")]
    found = page.evaluate(
        """async ([files, strings]) => {
            const { Vocabulary } = await import("./engine/tokens.js");
            const read = async (name) => (await fetch(`model/${name}`)).json();
            const [tokenizer, table] = await Promise.all(files.map(read));
            const vocabulary = new Vocabulary(tokenizer, table, []);
            return strings.map((text) => vocabulary.encode(text));
        }""",
        [files, strings],
    )
    assert [
        (text, ids) for text, ids in zip(strings, found, strict=True) if ids != starter.vocabulary.encode(text)
    ] == []


def test_a_fork_by_click_and_a_text_of_ones_own(page: Page, starter: LocalEngine) -> None:
    run(page, "The dog ran", 6, 4)
    page.click('.gs-chip[data-step="2"]')
    first = Trace.from_jsonl(kept(page))
    page.locator(".gs-chart .gs-bar").nth(1).click()
    wait_idle(page)
    other = first.steps[2].candidates[1].token_id
    assert differences(kept(page), branch(starter, first, 2, other, max_new_tokens=6)) == []
    page.click("#gs-tab-whatif")
    page.fill(".gs-score", " home with the café 🎉.")
    page.click('[data-ask="score"]')
    wait_idle(page)
    theirs = score(starter, "The dog ran", " home with the café 🎉.", top_k=4)
    # Each is within the noise of the truth; in a text that the model finds odd, not always of the other.
    assert differences(kept(page), theirs, 2.5 * NOISE) == []


def test_beams_are_the_librarys(page: Page, starter: LocalEngine) -> None:
    run(page, "Transformers are the", 6, 4)
    page.click("#gs-tab-whatif")
    page.fill(".gs-beams", "3")
    page.click('[data-ask="beam"]')
    expect(page.locator(".gs-tree-beams .gs-node")).to_have_count(18)
    theirs = beam_search(starter, "Transformers are the", max_new_tokens=6, num_beams=3, top_k=4)
    assert differences(kept(page), theirs, 2.5 * NOISE) == []
    ours = Trace.from_jsonl(kept(page)).beams
    assert ours is not None
    assert theirs.beams is not None
    assert ours.finished == theirs.beams.finished
    for our, their in zip(ours.steps, theirs.beams.steps, strict=True):
        facts = [[(beam.parent, beam.token_id, beam.text, beam.rank) for beam in beams] for beams in (our, their)]
        assert facts[0] == facts[1]
        assert [beam.total for beam in our] == pytest.approx([beam.total for beam in their], abs=1e-3)
    page.click("#gs-tab-tree")  # the run was kept from another tab
    page.click(".gs-tree-beams .gs-node >> nth=5")
    expect(page.locator(".gs-step-title")).to_contain_text("Step 2 of 6")
    page.click("#gs-tab-whatif")
    page.fill(".gs-beams", "9")
    page.click('[data-ask="beam"]')
    expect(page.locator("#problem-forced")).to_contain_text("has to be a whole number from 2 to 8, not 9.")


def test_a_larger_question_says_how_far_it_has_come_and_leaves_the_finished_answer(page: Page) -> None:
    run(page, "xqzjvkwpbq " * 20, 1, 5)  # long words: few parts of many tokens
    page.click('.gs-chip[data-step="0"]')
    page.click("#gs-tab-why")
    page.select_option(".gs-why-by", "words")
    page.click('[data-ask="why"]')
    wait_idle(page)
    count = page.locator(".gs-part-of-text").count()
    assert 2 < count < 20
    page.click(".gs-why-more")
    progress = page.locator(".gs-without-progress")
    expect(progress).to_contain_text("tokens …")
    page.wait_for_timeout(1500)  # the page says after one second that nothing has come
    expect(progress).to_contain_text("tokens …")
    assert "Waiting" not in page.inner_text(".gs-state")
    page.click("#stop")
    wait_idle(page)
    expect(progress).to_have_text("")
    expect(page.locator(".gs-part-of-text")).to_have_count(count)


def test_why_a_step_picked_its_token(page: Page, starter: LocalEngine) -> None:
    run(page, "The capital of France is", 2, 5)
    page.click('.gs-chip[data-step="1"]')
    page.click("#gs-tab-why")
    page.select_option(".gs-why-by", "words")
    page.click('[data-ask="why"]')
    wait_idle(page)
    expect(page.locator(".gs-lens-status")).to_contain_text("is in the lead from layer")
    expect(page.locator(".gs-lens-plot .hm image")).to_be_visible()
    expect(page.locator(".gs-lens-numbers")).not_to_have_attribute("open", "")
    found = Trace.from_jsonl(kept(page)).why  # the library's reader takes it
    trace = decoding.trace(starter, "The capital of France is", max_new_tokens=2, top_k=5)
    lens, left_out = decoding.lens(starter, trace, 1), decoding.leave_one_out(starter, trace, 1, by="words")
    assert isinstance(found[0], Lens)
    assert isinstance(found[1], LeaveOneOut)
    assert (found[0].tokens, found[0].leads_from) == (lens.tokens, lens.leads_from)
    for one, other in zip(found[0].layers, lens.layers, strict=True):
        assert one.leader.token_id == other.leader.token_id
        assert [rank == 0 for rank in one.ranks] == [rank == 0 for rank in other.ranks]
        for ours, theirs in zip(one.logprobs, other.logprobs, strict=True):
            assert abs(math.exp(ours) - math.exp(theirs)) < 2.5 * NOISE
    for mine, yours in zip(found[1].parts, left_out.parts, strict=True):
        assert (mine.first, mine.count, mine.instead.token_id) == (yours.first, yours.count, yours.instead.token_id)
        assert abs(mine.probability - yours.probability) < 2.5 * NOISE


def test_stop_ends_a_run_within_a_step(page: Page) -> None:
    page.fill("#prompt textarea", "Count: 1 2 3")
    page.fill("#steps input", "256")
    page.click("#run")
    expect(page.locator(".gs-prompt")).to_contain_text("Count: 1 2 3")  # the run before has steps, too
    page.wait_for_selector('.gs-chip[data-step="3"]')
    page.click("#stop")
    assert page.is_disabled("#stop")
    trace = Trace.from_jsonl(kept(page))
    assert trace.stop_reason == "stopped"
    assert 3 < len(trace.steps) < 256
    run(page, "Next", 2, 2)  # the engine is free again
    assert len(Trace.from_jsonl(kept(page)).steps) == 2


@pytest.mark.parametrize(
    ("values", "field", "sentence"),
    [
        ({"steps": "257"}, "steps", "has to be a whole number from 1 to 256, not 257."),
        ({"choices": ""}, "choices", "The number of choices is empty or not a number."),
        ({"prompt": "a" * 50_001}, "prompt", "The prompt has 50,001 characters; at most 50,000 are read."),
        ({"prompt": "word " * 9_000}, "prompt", "has room for 8,188 (its context is 8,192)."),
    ],
)
def test_what_cannot_be_run_is_refused_in_the_librarys_words(
    page: Page, values: dict[str, str], field: str, sentence: str
) -> None:
    for name, value in ({"prompt": "A", "steps": "4", "choices": "2"} | values).items():
        page.fill(f"#{name} :is(input, textarea)", value)
    page.click("#run")
    expect(page.locator(f"#problem-{field}")).to_contain_text(sentence)
    assert page.is_enabled("#run")


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (390, 844)])
@pytest.mark.parametrize(("language", "label"), [("en", "Run"), ("ko", "실행")])
def test_text_bars_and_timeline_are_one_screen(page: Page, width: int, height: int, language: str, label: str) -> None:
    page.set_viewport_size({"width": width, "height": height})
    page.click(f'[data-language="{language}"]')
    run(page, "Once upon a time", 30, 5)
    page.evaluate("scrollTo(0, 0)")
    expect(page.locator("#run")).to_have_text(label)
    expect(page.locator(".gs-model")).to_contain_text(
        "this browser" if language == "en" else "이 브라우저 · WebAssembly(스레드"
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for part in (".gs-text", ".gs-chart .gs-bar >> nth=4", ".gs-strip") if width > 760 else ():
        box = page.locator(part).bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= height, part
    page.set_viewport_size({"width": 1280, "height": 720})
    page.click('[data-language="en"]')


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(page: Page, scheme: Literal["light", "dark"]) -> None:
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    for tab in ("table", "whatif", "tree", "compare", "keep"):
        page.click(f"#gs-tab-{tab}")
        assert violations(page, EVERY if scheme == "light" else COLOURS) == []


def test_what_is_not_here_is_absent(page: Page) -> None:
    for tab in ("whatif", "keep"):
        page.click(f"#gs-tab-{tab}")
        frames_later(page)
        assert not page.locator('[data-ask="agree"], [data-ask="beside"]').filter(visible=True).count()
        assert not page.locator('[data-file="csv"], [data-file="html"], .gs-frame').filter(visible=True).count()
    assert page.locator('[data-file="jsonl"]').is_visible()
