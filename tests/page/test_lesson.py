"""The lesson in a real Chromium: the formulas with the run's own numbers, and the temperature. Nothing of it asks the
server.
"""

import math
import re
from collections.abc import Iterator

import pytest
import torch
from playwright.sync_api import Page, expect

import app as application
from decoding.record.tokens import visible
from tests.browser import Visit, frames_later, served
from tests.fakes import ScriptedEngine

LOGITS = [torch.randn(271, generator=torch.Generator().manual_seed(seed)) * 2 + 15 for seed in (1, 2, 3)]
"""What the model says at each step, with 271 tokens in the vocabulary; some words lead."""
for logits in LOGITS:
    logits[258:264] += 6


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    engine = ScriptedEngine([logits.numpy() for logits in LOGITS])
    with served(application.build_app(lambda name, report: engine, ["scripted"])) as address:
        yield address


def lesson(visit: Visit, url: str, **options: object) -> Page:
    """The page with a run of three steps and four choices, its lesson open at the first step."""
    page = visit(url, **options)
    page.fill("#steps input", "3")
    page.fill("#choices input", "4")
    page.click("#run")
    expect(page.locator(".gs-state")).to_contain_text("3 steps, done")
    expect(page.locator("#run")).to_be_enabled()
    page.locator(".gs-chip").first.click()
    page.click("#gs-tab-lesson")
    expect(page.locator(".gs-step-title")).to_contain_text("Step 1 of 3")
    expect(page.locator(".gs-growing tbody tr")).to_have_count(1)
    return page


def value(text: str) -> float:
    """The number that the page wrote: "1.061 × 10⁹", "−2.494", "8.26 %"."""
    plain = text.replace("−", "-").removesuffix(" %").translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789"))
    number, _, power = plain.partition(" × 10")
    return float(number) * 10 ** int(power or 0)


def numbers(page: Page, rows: str) -> list[list[str]]:
    return page.locator(rows).evaluate_all(
        "rows => rows.map((r) => [...r.querySelectorAll('td')].map((c) => c.innerText))"
    )


def part(page: Page, name: str) -> str:
    return page.locator(f'button[data-part="{name}"] b').inner_text()


def test_every_number_of_the_formula_is_the_models(url: str, visit: Visit) -> None:
    page = lesson(visit, url)
    for step, logits in enumerate(LOGITS):
        page.locator(".gs-chip").nth(step).click()
        expect(page.locator(".gs-step-title")).to_contain_text(f"Step {step + 1} of 3")
        frames_later(page)  # the tab is drawn after the title
        ids = logits.topk(4).indices.tolist()
        whole = logits.double().exp().sum().item()
        rows = numbers(page, ".gs-logits tbody tr")
        for token_id, (logit, exp, probability) in zip(ids, rows, strict=True):
            assert value(logit) == pytest.approx(logits[token_id].item(), abs=1e-4)
            assert value(exp) == pytest.approx(math.exp(logits[token_id].item()), rel=1e-3)
            assert value(probability) / 100 == pytest.approx(math.exp(logits[token_id].item()) / whole, abs=1e-4)
        rest, total = numbers(page, ".gs-logits tfoot tr")
        assert value(rest[1]) == pytest.approx(whole - logits[ids].double().exp().sum().item(), rel=1e-3)
        assert value(total[1]) == pytest.approx(whole, rel=1e-3)
        assert value(part(page, "logit")) == value(rows[0][0])
        assert value(part(page, "sum")) == value(total[1])
        assert value(part(page, "probability")) == value(rows[0][2])
    page.locator(".gs-logits tbody button").nth(2).press("Enter")  # another candidate into the formula
    expect(page.locator('button[data-part="logit"] b')).to_have_text(rows[2][0])
    expect(page.locator(".gs-logits tbody button").nth(2)).to_be_focused()


def test_the_text_so_far_grows_with_the_steps(url: str, visit: Visit) -> None:
    page = lesson(visit, url)
    picked = [logits.double().log_softmax(0).max().item() for logits in LOGITS]
    for count in (1, 2, 3):
        page.locator(f".gs-strip-bar:nth-child({count})").click()
        rows = page.locator(".gs-growing tbody tr")
        expect(rows).to_have_count(count)
        logprob = sum(picked[:count])
        assert value(part(page, "product").split(" = ")[1]) == pytest.approx(math.exp(logprob), rel=1e-3)
        assert value(part(page, "logs").split(" = ")[1]) == pytest.approx(logprob, abs=1e-3)
        assert value(part(page, "perplexity").split(" = ")[1]) == pytest.approx(math.exp(-logprob / count), abs=0.01)
        step, token, *_, so_far, _ = rows.last.locator("th, td").all_inner_texts()
        assert (step, value(so_far)) == (str(count), pytest.approx(logprob, abs=1e-3))
        assert token == page.locator(".gs-chip-text").nth(count - 1).inner_text()
    probabilities = LOGITS[2].double().softmax(0)
    entropy = -(probabilities * probabilities.log()).sum().item()
    nats, bits, choices = re.findall(r"[\d.]+", part(page, "entropy"))
    assert int(choices) == round(math.exp(entropy))
    assert (float(nats), float(bits)) == pytest.approx((entropy, entropy / math.log(2)), abs=1e-3)
    page.locator('button[data-part="entropy"]').hover()
    expect(page.locator(".gs-so-far .gs-meaning")).to_contain_text(
        f"among {math.exp(entropy):.0f} equally likely choices"
    )


def test_a_part_lights_up_wherever_it_stands_by_mouse_and_by_keyboard(url: str, visit: Visit) -> None:
    page = lesson(visit, url)
    lit = page.locator(".gs-softmax .gs-lit")
    page.locator(".gs-logits tbody td[data-part='logit']").nth(1).hover()
    expect(lit).to_have_count(1 + 1 + 1 + 4 + 2)  # in the formula, in the line, above the column, in its rows
    assert {each.get_attribute("data-part") for each in lit.all()} == {"logit"}
    page.locator('button[data-part="logit"]').focus()
    for name, word in [("exp", "Exponentials are always positive"), ("sum", "including the tokens that are not shown")]:
        page.keyboard.press("Tab")
        expect(page.locator(f'button[data-part="{name}"]')).to_be_focused()
        expect(page.locator(f'.gs-formula [data-part="{name}"]')).to_have_class(re.compile("gs-lit"))
        expect(page.locator(".gs-softmax .gs-meaning")).to_contain_text(word)


def test_the_temperature_redraws_the_bars_exactly_and_asks_nobody(url: str, visit: Visit) -> None:
    page = lesson(visit, url)
    text, table = page.locator(".gs-text").inner_text(), page.locator(".gs-logits").inner_text()
    expect(page.locator(".gs-heat-word")).to_have_text("T = 1: the model's own probabilities.")
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.locator(".gs-heat").focus()
    first = visible(page.locator(".gs-argmax .gs-bar-label").inner_text())
    for key, temperature, name in [
        ("Home", 1 / 4, "0.25"),
        ("ArrowRight", 1 / 2, "0.5"),
        ("ArrowRight", 2 / 3, "2/3"),
        ("End", 4, "4"),
        ("ArrowLeft", 2, "2"),
        ("ArrowLeft", 4 / 3, "4/3"),
    ]:
        page.keyboard.press(key)
        expect(page.locator(".gs-heat-value")).to_have_text(f"T = {name}")
        expect(page.locator(".gs-heat-word")).to_contain_text(f"What sampling would see at T = {name}")
        expected = (LOGITS[0].double() / temperature).softmax(0).topk(4).values.tolist()
        shown = page.locator(".gs-chart .gs-bar-value").all_inner_texts()
        shares = [value(each.split(" %")[0]) / 100 for each in shown]
        assert shares == pytest.approx([*expected, 1 - sum(expected)], abs=6e-5)
        assert visible(page.locator(".gs-argmax .gs-bar-label").inner_text()) == first
    assert page.locator(".gs-text").inner_text() == text
    assert page.locator(".gs-logits").inner_text() == table
    page.locator(".gs-chip").nth(1).click()  # leaving the step
    expect(page.locator(".gs-heat-value")).to_have_text("T = 1")
    page.locator(".gs-chip").nth(0).click()
    expect(page.locator(".gs-heat-value")).to_have_text("T = 1")
    assert requests == []


def test_a_run_without_logits_says_so(url: str, visit: Visit) -> None:
    page = visit(url)
    page.get_by_role("button", name="gpt2-xl").click()
    expect(page.locator(".gs-model")).to_contain_text("gpt2-xl")
    page.click("#gs-tab-lesson")
    expect(page.locator(".gs-no-logits")).to_be_visible()
    expect(page.locator(".gs-no-logits")).to_contain_text("This run has no logits")
    assert part(page, "logit") == part(page, "sum") == "–"
    assert part(page, "probability") == "8.53 %"
    expect(page.locator(".gs-heat")).to_be_disabled()
    expect(page.locator(".gs-heat")).to_have_attribute("title", re.compile("^This run has no logits"))
    expect(page.locator(".gs-heat-word")).to_contain_text("another temperature cannot be computed exactly")
    page.locator('button[data-part="entropy"]').hover()
    expect(page.locator(".gs-so-far .gs-meaning")).to_contain_text("This run has no entropy for this step.")
