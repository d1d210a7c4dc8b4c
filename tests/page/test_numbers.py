"""The page over the real starter model: what a browser draws is what the engine computed, and nothing else happens."""

from collections.abc import Iterator
from itertools import pairwise

import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError
from playwright.sync_api import Page, expect

import app as application
import decoding
from decoding import Trace
from decoding.engines.local_engine import LocalEngine
from tests.browser import Visit, frames_later, served
from tests.fakes import NASTY, ScriptedEngine


@pytest.fixture(scope="module")
def url(starter: LocalEngine) -> Iterator[str]:
    with served(application.build_app(lambda name, report: starter, ["starter"])) as address:
        yield address


def run(page: Page, prompt: str, steps: int, choices: int) -> None:
    page.fill("#prompt textarea", prompt)
    page.fill("#steps input", str(steps))
    page.fill("#choices input", str(choices))
    page.click("#run")
    expect(page.locator(".gs-badge")).to_be_hidden()  # not the recorded one any more
    expect(page.locator(".gs-state")).to_contain_text(f"{steps} steps, done")
    expect(page.locator("#run")).to_be_enabled()


# The chosen step on the screen: Plotly's data, the widths it drew (as shares of its axis), and the list's ids.
DRAWN = """() => {
    const plot = document.querySelector(".gs-plot");
    const axis = plot._fullLayout.xaxis;
    const widths = [...plot.querySelectorAll(".bars .point path")].map((bar) => bar.getBBox().width);
    return {
        shares: plot.data[0].x,
        drawn: widths.map((width) => (100 * width) / (axis.l2p(100) - axis.l2p(0))),
        range: axis.range,
        // how far each row's label stands from its bar, in pixels
        apart: [...plot.querySelectorAll(".bars .point path")].map((bar, row) => {
            const [a, b] = [bar, document.querySelectorAll(".gs-bar-label")[row]].map((e) => e.getBoundingClientRect());
            return Math.abs(a.top + a.height / 2 - (b.top + b.height / 2));
        }),
        ids: [...document.querySelectorAll(".gs-bar .gs-id")].map((id) => id.textContent),
    };
}"""


@pytest.mark.parametrize(
    ("prompt", "steps", "choices"),
    [
        ("Transformers are the", 8, 5),
        ("트랜스포머는", 12, 3),
        ("The best emoji for a party is 🎉 and the saddest is", 12, 5),
    ],
)
def test_what_is_drawn_is_what_the_engine_computed(
    url: str, starter: LocalEngine, visit: Visit, prompt: str, steps: int, choices: int
):
    trace = decoding.trace(starter, prompt, max_new_tokens=steps, top_k=choices)
    page = visit(url)
    page.wait_for_function("window.Plotly")
    run(page, prompt, steps, choices)
    for step in trace.steps:
        page.locator(".gs-chip").nth(step.index).click()
        expect(page.locator(".gs-step-title")).to_contain_text(f"Step {step.index + 1} of {steps}")
        drawn = frames_later(page).evaluate(DRAWN)
        shares = [100 * p for p in (*(c.probability for c in step.candidates), step.rest)]
        assert drawn["shares"] == pytest.approx(shares, abs=1e-9)
        assert drawn["drawn"] == pytest.approx(shares, abs=0.3)  # a pixel
        assert drawn["range"] == [0, 100]
        assert max(drawn["apart"]) < 3
        assert drawn["ids"] == [*(str(c.token_id) for c in step.candidates), ""]
    expect(page.locator(".gs-model")).to_have_text("starter · four-bit weights, computed in float32 · cpu · exact")
    table = page.locator(".gs-table tbody tr td .gs-id")
    expect(table).to_have_text([str(c.token_id) for step in trace.steps for c in step.candidates])
    expect(page.locator(".gs-chip .gs-id")).to_have_text([str(token_id) for token_id in trace.generated_token_ids])
    last_input = page.locator(".gs-table tbody tr").last.locator("th").inner_text()
    last_words = last_input.lstrip("…").replace("↵", "\n")  # a row is one line
    whole = trace.prompt + _text(trace, steps - 1)
    assert len(last_words) >= min(20, len(whole))
    assert whole.endswith(last_words)


def _text(trace: Trace, steps: int) -> str:
    """What the first steps say, without a character that is not complete yet: the page shows that one as bytes."""
    data = b"".join(s.picked.bytes or s.picked.text.encode() for s in trace.steps[:steps])
    return data.decode("utf-8", "ignore")


@pytest.mark.parametrize("name", sorted(NASTY))
def test_hostile_prompts_are_text(url: str, starter: LocalEngine, name: str):
    result = Client(url, verbose=False).predict(NASTY[name], 1, 2, "starter", api_name="/greedy")
    trace = Trace.from_jsonl(result)
    assert trace.prompt == NASTY[name]
    assert list(trace.prompt_token_ids) == starter.vocabulary.encode(NASTY[name])


def test_markup_from_a_person_or_a_model_is_never_interpreted(visit: Visit):
    evil = "<img src=x onerror=window.evil=1>"
    dollar = "${window.evil=1}{{constructor}}"
    engine = ScriptedEngine([{evil: 0.6, dollar: 0.3}, {dollar: 0.9}], words=(evil, dollar))
    with served(application.build_app(lambda name, report: engine, ["scripted"])) as url:
        page = visit(url)
        page.wait_for_function("window.Plotly")
        run(page, f"{evil} <script>window.evil=1</script> {dollar} & &lt;b&gt;", 4, 3)
        for chip in page.locator(".gs-chip").all():
            chip.click()
        page.locator(".gs-chip").first.click()
        expect(page.locator(".gs-step-title")).to_contain_text("Step 1 of 4")
        assert page.locator(".gs-chip .gs-chip-text").all_inner_texts()[:2] == [evil.replace(" ", "·"), dollar]
        assert page.evaluate("window.evil") is None
        assert page.locator("#panel img, #panel script, #panel b.evil").count() == 0
        assert page.locator(".gs-bar-label").all_inner_texts()[0] == f"▸ {evil.replace(' ', '·')}"


def test_the_endpoint_streams_the_growing_run(url: str, starter: LocalEngine):
    job = Client(url, verbose=False).submit("Transformers are the", 8, 5, "starter", api_name="/greedy")
    final = job.result(timeout=60)
    values = job.outputs()
    assert all(later.startswith(earlier) for earlier, later in pairwise(values))
    assert len(values) > 1  # steps that follow each other closely come together
    assert values[-1].count("\n") == 10  # a header, eight steps, an end
    assert Trace.from_jsonl(final) == decoding.trace(starter, "Transformers are the", max_new_tokens=8, top_k=5)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("a", 0, 5, "starter"), "The number of steps has to be a whole number from 1 to 256, not 0."),
        (("a", 8, 51, "starter"), "The number of choices has to be a whole number from 1 to 50, not 51."),
        (("a\0", 8, 5, "starter"), "Character 2 of the prompt is a NUL (U+0000): that is not text. Delete it."),
        (("a", 8, 5, "gpt2-xl"), 'The model "gpt2-xl" is not offered here. Choose one of: starter.'),
        (("a" * 100_000, 8, 5, "starter"), "The prompt has 100,000 characters; at most 50,000 are read. Shorten it."),
    ],
)
def test_the_endpoint_refuses_with_the_pages_sentences(url: str, arguments: tuple[object, ...], sentence: str):
    with pytest.raises(AppError) as refused:
        Client(url, verbose=False).predict(*arguments, api_name="/greedy")
    assert str(refused.value) == sentence
