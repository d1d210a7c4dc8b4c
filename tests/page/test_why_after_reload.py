"""What was asked about a run that a tab's memory has no room for, once the page has been loaded again."""

from dataclasses import replace
from pathlib import Path

from playwright.sync_api import expect

import decoding
from tests.browser import Visit, served
from tests.fakes import ScriptedEngine
from tests.page.why_questions import page_over, press_run

STEPS = 60
STORED = """() => Object.entries(sessionStorage)
    .filter(([name]) => name.startsWith("greedyscope.kept.run."))
    .map(([, run]) => JSON.parse(run.split("\\n")[0]).kind).sort().join()"""


def test_the_newest_answers_are_there_and_the_others_are_known_to_be_gone(visit: Visit, tmp_path: Path) -> None:
    engine = ScriptedEngine(end_ids=())
    run = decoding.trace(engine, "ab" * 125, max_new_tokens=STEPS, top_k=3)
    answers = tuple(decoding.leave_one_out(engine, run, step, last=250) for step in range(STEPS))
    file = tmp_path / "run.jsonl"
    file.write_text(replace(run, why=answers).to_jsonl(), "utf-8")
    assert file.stat().st_size > 2_300_000
    with served(page_over(engine)) as address:
        page = visit(f"{address}?language=en")
        press_run(page, "ab", "3")
        expect(page.locator(".gs-state")).to_contain_text("3 steps, done")
        page.wait_for_url("**run=**")
        before = page.url
        page.locator("#gs-tab-keep").press("Enter")
        page.locator("#gs-page-keep [type=file]").set_input_files(file)
        expect(page.locator(".gs-state")).to_contain_text(f"{STEPS} steps")
        page.wait_for_function(f"({STORED})() === 'file,run,run'")  # the answers push no other run out
        page.wait_for_url(lambda address: address != before)  # which names it
        page.reload()
        expect(page.locator(".gs-chip")).to_have_count(STEPS)
        page.locator("#gs-tab-why").press("Enter")
        page.locator(".gs-strip").press("End")
        expect(page.locator(".gs-part-of-text")).to_have_count(250)
        page.locator(".gs-strip").press("Home")
        expect(page.locator(".gs-without-status")).to_contain_text("no longer kept")
