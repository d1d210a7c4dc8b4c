"""Sampling, past the end and a named text on the page, over a model that shares its passes, in the engine's numbers."""

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
from playwright.sync_api import Page, expect

import app as application
import decoding
from decoding.engines.batching.engine import BatchedEngine
from decoding.engines.local_engine import LocalEngine
from decoding.record.trace import Trace
from tests.browser import Visit, served
from tests.page.actions import wait_for_first_run, wait_for_link

PROMPT = "Transformers are the"
HOW = decoding.Sampling(temperature=1.2, top_k=4, seed=3, first=1)


@pytest.fixture(scope="module")
def url(starter: LocalEngine) -> Iterator[str]:
    shared = BatchedEngine(starter)
    with served(application.build_app(lambda name, report: shared, ["starter"])) as address:
        yield address


def ready(page: Page) -> None:
    page.wait_for_selector('.gs[aria-busy="false"]')
    page.wait_for_selector("#run:enabled")


def test_draw_look_up_and_go_on_past_the_end(url: str, visit: Visit, starter: LocalEngine) -> None:
    page = visit(url)
    page.wait_for_function("window.Plotly")
    page.click("#run")
    wait_for_first_run(page)
    page.locator("#gs-tab-whatif").press("Enter")
    page.locator(".gs-chip").nth(1).click()

    # A text that is named: every token's own probability and rank, and no run.
    greedy = decoding.trace(starter, PROMPT, max_new_tokens=8, top_k=5)
    named = decoding.probability(starter, greedy, 1, " popular robots")
    page.fill(".gs-named-text", " popular robots")
    page.click('[data-ask="named"]')
    rows = page.locator(".gs-named .gs-bar-value")
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text(f"rank {named.tokens[0].rank + 1}")
    expect(page.locator(".gs-named")).to_contain_text(f"ln p −{-named.logprob:.3f}")
    ready(page)

    # Twenty draws, as the library has them.
    page.fill(".gs-draw-temperature", str(HOW.temperature))
    page.fill(".gs-draw-top-k", str(HOW.top_k))
    page.fill(".gs-draw-seed", str(HOW.seed))
    page.click('[data-ask="draws"]')
    found = decoding.draws(starter, PROMPT, sampling=HOW, max_new_tokens=8, top_k=5)
    expect(page.locator(".gs-draw-texts li")).to_have_count(21)
    expect(page.locator(".gs-dots circle")).to_have_count(20)
    tokens = page.locator(".gs-draws .gs-draw-next li")
    expect(tokens).to_have_count(len(found.next_tokens))
    token, times = found.next_tokens[0]
    expect(tokens.first).to_contain_text(f"{times} times")
    expect(tokens.first).to_contain_text(token.text.strip())
    best = max(found.runs, key=lambda run: run.logprob)
    assert best.sampling is not None
    expect(page.locator(".gs-draw-texts li").first).to_contain_text(f"−{-best.logprob:.2f}")
    ready(page)

    # One of them, opened: cut tokens are struck out, and the bars stay the model's own.
    page.locator(f'[data-seed="{best.sampling.seed}"]').click()
    how = {"temperature": 1.2, "top_k": 4, "top_p": 1, "seed": best.sampling.seed, "first": 1}
    wait_for_link(page, sampling=how)
    ready(page)
    begins = "".join(step.picked.text.replace(" ", "·") for step in best.steps[1:])
    expect(page.locator(".gs-draw-status")).to_contain_text(f"from step 2 on with seed {best.sampling.seed}.")
    expect(page.locator(".gs-draw-status")).to_contain_text(begins[:12])
    page.locator(".gs-chip").nth(1).click()
    expect(page.locator(".gs-how-picked")).to_contain_text("T = 1.2, top-k 4, top-p 1")
    first = best.steps[1]
    assert first.draw is not None
    expect(page.locator(".gs-cut .gs-bar-label")).to_have_count(first.draw.probabilities.count(0))
    shown = page.locator(".gs-bars .gs-bar-value")
    expect(shown.first).to_contain_text(f"{first.candidates[0].probability:.2%}".replace("%", " %"))
    expect(shown.first).to_contain_text(f"drawn from {first.draw.probabilities[0]:.2%}".replace("%", " %"))
    drawn = [n for n, step in enumerate(best.steps) if step.forced]
    expect(page.locator(".gs-chip.gs-drawn.gs-forced")).to_have_count(len(drawn))

    # A pick in between: the draws before it stay, and those after it go on with their numbers.
    other = next(c for c in best.steps[3].candidates if c.token_id != best.steps[3].picked.token_id)
    page.locator(".gs-chip").nth(3).click()
    expect(page.locator(".gs-strip")).to_have_attribute("aria-valuenow", "4")
    page.locator(f'.gs-bars [data-candidate="{other.token_id}"]').click()
    branch = decoding.branch(starter, best, 3, other.token_id, max_new_tokens=8)
    ready(page)
    expect(page.locator(".gs-chip .gs-id")).to_have_text([str(token_id) for token_id in branch.generated_token_ids])

    # The link opens to the same run.
    again = visit(page.url)
    expect(again.locator(".gs-chip .gs-id")).to_have_text([str(token_id) for token_id in branch.generated_token_ids])
    expect(again.locator(".gs-chip.gs-drawn.gs-forced")).not_to_have_count(0)
    again.close()


def test_past_the_end(url: str, visit: Visit, starter: LocalEngine) -> None:
    page = visit(url)
    page.wait_for_function("window.Plotly")
    prompt = "<|im_start|>user\nSay yes.<|im_end|>\n<|im_start|>assistant\n"
    page.fill("#prompt textarea", prompt)
    page.fill("#steps input", "24")
    page.click("#run")
    run = decoding.trace(starter, prompt, max_new_tokens=24, top_k=5)
    assert run.stop_reason == "end_of_text"
    expect(page.locator(".gs-chip")).to_have_count(len(run.steps))
    ready(page)
    page.locator("#gs-tab-whatif").press("Enter")
    switch = page.locator('[data-ask="pastEnd"]')
    expect(switch).to_have_attribute("aria-pressed", "false")
    switch.click()
    expect(page.locator(".gs-chip")).to_have_count(24)
    expect(switch).to_have_attribute("aria-pressed", "true")
    wait_for_link(page, past_end=True)
    ready(page)
    page.locator(".gs-chip.gs-passed").first.click()
    expect(page.locator(".gs-how-picked")).to_contain_text("would end the text. The run goes on past it")
    # The file keeps it, and the library has the same run.
    page.locator("#gs-tab-keep").press("Enter")
    with page.expect_download() as saved:
        page.click('[data-file="jsonl"]')
    kept = Trace.from_jsonl(saved.value.path().read_text("utf-8"))
    ours = decoding.trace(starter, prompt, max_new_tokens=24, top_k=5, past_end=True)
    assert kept.past_end
    assert kept.generated_token_ids == ours.generated_token_ids
    assert [replace(step, log_sums=()).past_end for step in kept.steps] == [step.past_end for step in ours.steps]
    assert json.loads(kept.to_jsonl().splitlines()[0])["past_end"] is True
    # Pressed again, it ends where the model ends it.
    page.locator("#gs-tab-whatif").press("Enter")
    switch.click()
    expect(page.locator(".gs-chip")).to_have_count(len(run.steps))
    expect(switch).to_have_attribute("aria-pressed", "false")
