"""Makes what is recorded again: the runs under assets/recorded and the README's screenshot. `python -m tests.refresh`

The starter's run is decoded anew; the notebook's gpt2-xl table is written from the figures as they were printed.
"""

import json
import math
import sys
from datetime import UTC, datetime
from pathlib import Path

from playwright.sync_api import sync_playwright

import app as application
import decoding
from decoding.messages import Message
from decoding.record.trace import NO_ID, Candidate, ModelInfo, Step, Trace
from tests.browser import QUIET, chromium, served

ROOT = Path(__file__).resolve().parents[1]
RECORDED = ROOT / "assets" / "recorded"
NOTEBOOK_TABLE = ROOT / "tests" / "reference" / "gpt2_xl_notebook_table.json"


def notebook_table() -> Trace:
    """The notebook's gpt2-xl table as a run: percentages with two decimals; ids, entropies and the spaces of the
    candidates that were not picked were not printed, and are left out rather than guessed.
    """
    table = json.loads(NOTEBOOK_TABLE.read_text("utf-8"))
    printed = [step["choices"] for step in table["steps"]]
    steps = []
    for index, choices in enumerate(printed):
        texts = [choice["text"] for choice in choices]
        texts[0] = _picked_text(table["generated_text"], [row[0]["text"] for row in printed], index)
        shares = [round(choice["percent"] / 100, 4) for choice in choices]
        candidates = tuple(
            Candidate(NO_ID, text, share, math.log(share), rank)
            for rank, (text, share) in enumerate(zip(texts, shares, strict=True))
        )
        rest = round(1 - math.fsum(shares), 4)
        steps.append(Step(index, candidates[0], False, candidates, rest, math.nan, round(shares[0] - shares[1], 4)))
    return Trace(
        model=ModelInfo("gpt2-xl", "", Message("note.printed"), "", "figures as printed in the notebook"),
        prompt=table["prompt"],
        prompt_tokens=(),
        max_new_tokens=len(steps),
        top_k=len(printed[0]),
        steps=tuple(steps),
        stop_reason="steps",
        note=Message("note.notebook"),
    )


def _picked_text(generated: str, picked: list[str], index: int) -> str:
    """A picked token with its space, which the generated text shows."""
    place = 0
    for token in picked[:index]:
        place = generated.index(token, place) + len(token)
    return generated[place : generated.index(picked[index], place) + len(picked[index])]


def starter_run() -> Trace:
    """The notebook's prompt on the starter."""
    run = decoding.trace(decoding.load("starter", device="cpu"), "Transformers are the", max_new_tokens=8, top_k=5)
    note = Message("note.recorded", date=f"{datetime.now(UTC):%Y-%m-%d}")
    return Trace(run.model, run.prompt, run.prompt_tokens, 8, 5, run.steps, run.stop_reason, note=note)


def screenshot() -> None:
    """The page after the notebook's run on the starter, its third step chosen: one screen of a projector."""
    engine = decoding.load("starter", device="cpu")
    page_over_it = application.build_app(lambda name, report: engine, ["starter"])
    with served(page_over_it) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox", *QUIET])
        page = browser.new_page(viewport={"width": 1280, "height": 720})
        page.goto(url)
        page.wait_for_function("window.Plotly")
        page.fill("#choices input", "10")
        page.click("#run")
        page.wait_for_selector(".gs-badge", state="hidden")  # the recorded run has as many steps
        page.get_by_text("8 steps, done").wait_for()
        page.wait_for_selector('.gs[aria-busy="false"]')
        page.locator(".gs-chip").nth(2).click()
        page.mouse.move(0, 0)
        page.wait_for_function("document.querySelector('.gs-step-title').textContent.startsWith('Step 3 of 8')")
        page.screenshot(path=ROOT / "assets" / "screenshot.png")
        browser.close()


def main() -> None:
    for name, run in {"gpt2_xl_notebook_table": notebook_table, "starter": starter_run}.items():
        path = RECORDED / f"{name}.jsonl"
        path.write_text(run().to_jsonl(), "utf-8")
        print(f"wrote {path.relative_to(ROOT)}", file=sys.stderr)
    screenshot()


if __name__ == "__main__":
    main()
