"""What if, on the page over the real starter: fork, undo, compare, search, read, prove, in the engine's own numbers."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

import app as application
import decoding
from decoding.engines.local_engine import LocalEngine
from tests.browser import Visit, frames_later, served

PROMPT = "Transformers are the"


@pytest.fixture(scope="module")
def url(starter: LocalEngine) -> Iterator[str]:
    with served(application.build_app(lambda name, report: starter, ["starter"])) as address:
        yield address


@pytest.fixture
def page(url: str, visit: Visit) -> Page:
    """The notebook's run on screen, as Run 2 after the recorded one."""
    opened = visit(url)
    opened.wait_for_function("window.Plotly")
    opened.click("#run")
    shows(opened, "Run 2")
    return opened


def shows(page: Page, name: str) -> None:
    """Wait until a run is on screen and has ended."""
    page.locator("#gs-tab-compare").press("Enter")  # while text streams in, a tab moves away from under a pointer
    expect(page.locator(".gs-list tr[aria-current] td").first).to_have_text(name)
    page.wait_for_selector('.gs[aria-busy="false"]')
    expect(page.locator("#run")).to_be_enabled()  # the list may be drawn before the run's state


def row(page: Page, name: str) -> list[str]:
    """A run's figures in the list: tokens, log-probability, per token, perplexity."""
    # The list is drawn in a frame of its own, after the text.
    cells = frames_later(page).locator(".gs-list tbody tr", has_text=re.compile(f"^{name}")).first.locator("td")
    return [text.replace("−", "-") for text in cells.all_inner_texts()[3:7]]


def figures(trace: decoding.Trace) -> list[str]:
    count = len(trace.steps)
    return [str(count), f"{trace.logprob:.3f}", f"{trace.logprob / count:.3f}", f"{trace.perplexity:.2f}"]


def go_to(page: Page, step: int) -> None:
    page.locator(".gs-chip").nth(step).click()
    expect(page.locator(".gs-step-title")).to_contain_text(f"Step {step + 1} of")


def test_fork_twice_undo_once_and_compare(page: Page, starter: LocalEngine):
    greedy = decoding.trace(starter, PROMPT, max_new_tokens=8, top_k=5)
    second = greedy.steps[1].candidates[3]
    first_fork = decoding.branch(starter, greedy, 1, second.token_id, max_new_tokens=8)
    third = first_fork.steps[4].candidates[1]
    second_fork = decoding.branch(starter, first_fork, 4, third.token_id, max_new_tokens=8)

    go_to(page, 1)
    page.locator(".gs-bar").nth(3).click()  # by mouse, on the bar
    shows(page, "Run 3")
    assert row(page, "Run 3") == figures(first_fork)
    go_to(page, 4)
    page.locator(".gs-bar").nth(0).focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")  # by keyboard
    shows(page, "Run 4")
    assert row(page, "Run 4") == figures(second_fork)
    forced = [str(second.token_id), str(third.token_id)]
    expect(page.locator(".gs-chip.gs-forced .gs-id")).to_have_text(forced)
    expect(page.locator(".gs-strip .gs-forced")).to_have_count(2)

    page.click('[data-ask="undo"]')
    shows(page, "Run 3")
    expect(page.locator(".gs-list tbody tr")).to_have_count(3)
    page.click('[data-ask="redo"]')
    shows(page, "Run 4")
    page.select_option(".gs-left", "Run 3")
    page.select_option(".gs-right", "Run 4")
    expect(page.locator(".gs-verdict")).to_contain_text("They diverge at step 5.")
    for column, trace in ((0, first_fork), (1, second_fork)):
        ids = [str(token_id) for token_id in trace.generated_token_ids]
        expect(page.locator(f".gs-sides tbody tr td:nth-of-type({column + 1}) .gs-id")).to_have_text(ids)


def test_a_cell_of_the_table_forks_too(page: Page, starter: LocalEngine):
    greedy = decoding.trace(starter, PROMPT, max_new_tokens=8, top_k=5)
    page.locator("#gs-tab-table").press("Enter")  # the chart that is drawn last moves it once more
    page.locator("tr[data-step='2'] td").nth(4).click()
    shows(page, "Run 3")
    fork = decoding.branch(starter, greedy, 2, greedy.steps[2].candidates[4].token_id, max_new_tokens=8)
    assert row(page, "Run 3") == figures(fork)


def test_the_closest_call_is_forked_and_both_totals_shown(page: Page, starter: LocalEngine):
    greedy = decoding.trace(starter, PROMPT, max_new_tokens=8, top_k=5)
    closest = min(greedy.steps, key=lambda step: step.margin)
    page.click("#gs-tab-whatif")
    page.click('[data-ask="closest"]')
    shows(page, "Run 3")
    fork = decoding.branch(starter, greedy, closest.index, closest.candidates[1].token_id, max_new_tokens=8)
    assert row(page, "Run 3") == figures(fork)
    expect(page.locator(".gs-verdict")).to_contain_text(f"They diverge at step {closest.index + 1}.")
    expect(page.locator(".gs-verdict")).to_contain_text(f"{greedy.logprob:.3f}".replace("-", "−"))


def test_beam_search_stands_beside_greedy(page: Page, starter: LocalEngine):
    page.click("#gs-tab-whatif")
    page.click('[data-ask="beam"]')
    expect(page.locator(".gs-tree-beams .gs-node")).to_have_count(32)
    shows(page, "Run 3")
    found = decoding.beam_search(starter, PROMPT, max_new_tokens=8, num_beams=4, top_k=5)
    assert row(page, "Run 3") == figures(found)
    expect(page.locator(".gs-verdict")).to_contain_text("Run 3 (beam search) wins: its text is 7.69 times as probable")


def test_any_text_is_read(page: Page, starter: LocalEngine):
    page.click("#gs-tab-whatif")
    page.fill(".gs-score", " fastest way to learn")
    page.click('[data-ask="score"]')
    shows(page, "Run 3")
    assert row(page, "Run 3") == figures(decoding.score(starter, PROMPT, " fastest way to learn", top_k=5))
    page.select_option(".gs-colour", "rank")
    expect(page.locator('.gs[data-colour="rank"]')).to_be_visible()


def test_the_prompts_tokens_are_scored(page: Page, starter: LocalEngine):
    trace = decoding.trace(starter, PROMPT, max_new_tokens=8, top_k=5)
    scored = decoding.score_prompt(starter, trace)
    page.click(".gs-prompt-tokens summary")
    page.click('[data-ask="prompt"]')
    chips = page.locator(".gs-prompt .gs-chip")
    expect(chips).to_have_count(4)
    expect(page.locator(".gs-prompt .gs-unscored")).to_have_count(1)  # nothing stands before the first
    for place, score in enumerate(scored.prompt_scores, start=1):
        said = f"rank {score.rank + 1}, entropy {score.entropy:.2f} nats"
        expect(chips.nth(place)).to_have_attribute("title", re.compile(re.escape(said)))
        expect(page.locator(".gs-prompt-tokens li").nth(place)).to_contain_text(f"rank {score.rank + 1}")
    expect(page.locator(".gs-text .gs-chip[data-step]")).to_have_count(8)
    expect(page.locator('[data-ask="prompt"]')).to_be_hidden()
    page.select_option(".gs-colour", "entropy")
    shades = page.locator(".gs-text .gs-chip[data-step]").evaluate_all(
        "chips => chips.map((chip) => Number(getComputedStyle(chip).getPropertyValue('--e')))"
    )
    assert shades == pytest.approx([min(1, step.entropy / 8) for step in trace.steps], abs=1e-3)
    with page.expect_download() as download:
        page.click("#gs-tab-keep")
        page.click('[data-file="jsonl"]')
    kept = decoding.Trace.from_jsonl(download.value.path().read_text("utf-8"))
    assert [score.rank for score in kept.prompt_scores] == [score.rank for score in scored.prompt_scores]
    assert [s.logprob for s in kept.prompt_scores] == pytest.approx([s.logprob for s in scored.prompt_scores], abs=1e-4)


def test_a_text_of_ones_own_is_forced(page: Page, starter: LocalEngine):
    go_to(page, 0)
    page.click("#gs-tab-whatif")
    page.fill(".gs-own", " robots in disguise")
    page.click('[data-ask="own"]')
    shows(page, "Run 3")
    ids = starter.vocabulary.encode_continuation(" robots in disguise")
    expect(page.locator(".gs-chip.gs-forced .gs-id")).to_have_text([str(token_id) for token_id in ids])
    read = decoding.score(starter, PROMPT, " robots in disguise", top_k=5)
    go_to(page, 0)
    rank = re.compile(rf"\brank {read.steps[0].picked.rank + 1},")
    expect(page.locator(".gs-chip").nth(0)).to_have_attribute("title", rank)


def test_the_run_is_proved(page: Page):
    page.click("#gs-tab-whatif")
    page.click('[data-ask="agree"]')
    expect(page.locator(".gs-proof")).to_have_text("Identical in all 8 tokens (float32, cpu).")


def test_loops_are_marked(page: Page, starter: LocalEngine):
    prompt = "One two one two one two one two"
    trace = decoding.trace(starter, prompt, max_new_tokens=24, top_k=3)
    assert trace.loops, trace.text
    page.fill("#prompt textarea", prompt)
    page.fill("#steps input", "24")
    page.fill("#choices input", "3")
    page.click("#run")
    shows(page, "Run 3")
    marked = sum(loop.period * loop.repeats for loop in trace.loops)
    expect(page.locator(".gs-chip.gs-loop")).to_have_count(marked)
    page.click("#gs-tab-whatif")
    expect(page.locator(".gs-repeats li")).to_have_count(sum(loop.repeats for loop in trace.loops))


@pytest.mark.parametrize("field", ["own", "beams", "named-text", "draw-seed"])
def test_enter_in_a_field_asks(page: Page, field: str) -> None:
    page.click("#gs-tab-whatif")
    page.fill(f".gs-{field}", {"own": " big", "named-text": " big"}.get(field, "3"))
    page.press(f".gs-{field}", "Enter")
    if field == "named-text":
        expect(page.locator(".gs-named li")).to_have_count(1)
    elif field == "beams":
        expect(page.locator(".gs-tree-beams .gs-node").first).to_be_attached()
    else:
        shows(page, "Run 3")
    expect(page.locator("#run")).to_be_enabled()


@pytest.mark.parametrize(
    ("fields", "ask", "sentence"),
    [
        ({".gs-score": ""}, "score", "The text is empty, so there is nothing to read. Write or paste one."),
        ({".gs-own": ""}, "own", "There is no text to continue with. Type some; a space counts."),
        (
            {".gs-own": " one two three four five six seven eight nine"},
            "own",
            "Shorten it, continue from an earlier step",
        ),
        ({".gs-beams": "9"}, "beam", "from 2 to 8"),
        ({".gs-beams": ""}, "beam", "The number of beams is empty or not a number."),
    ],
)
def test_what_cannot_be_answered_gets_a_sentence(page: Page, fields: dict[str, str], ask: str, sentence: str):
    page.click("#gs-tab-whatif")
    for field, value in fields.items():
        page.fill(field, value)
    page.click(f'[data-ask="{ask}"]')
    expect(page.locator("#problem-forced")).to_contain_text(sentence)
    expect(page.locator(".gs-chip")).to_have_count(8)
    expect(page.locator("#run")).to_be_enabled()
