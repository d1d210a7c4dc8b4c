"""What the tests of "Why?" share: a run, and engines that wait at a gate."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect

from decoding.page import AdmissionQueue, build_page
from decoding.record.step import StepScores
from decoding.serving.model_registry import ModelRegistry
from tests.browser import Visit, frames_later, served
from tests.fakes import ScriptedEngine


def press_run(page: Page, prompt: str, steps: str) -> None:
    page.fill("#prompt textarea", prompt)
    page.fill("#steps input", steps)
    page.click("#run")


def page_over(engine: ScriptedEngine, queue: AdmissionQueue | None = None) -> Any:
    return build_page(ModelRegistry(lambda name, report: engine, ["scripted"]), queue or AdmissionQueue())


@contextmanager
def first_of_two_steps(visit: Visit, blocks: Any, prompt: str) -> Iterator[Page]:
    """The tab "Why?" at the first step of a run of two, in English; nothing is asked yet."""
    with served(blocks) as address:
        page = visit(f"{address}?language=en")
        press_run(page, prompt, "2")
        expect(page.locator(".gs-state")).to_contain_text("2 steps, done")
        page.locator(".gs-chip[data-step='0']").click()
        page.locator("#gs-tab-why").press("Enter")
        expect(page.locator(".gs-strip")).to_have_attribute("aria-valuenow", "1")
        yield frames_later(page)  # the tab is drawn after the step


def top_of(page: Page, selector: str) -> float:
    """Where an element begins, from the top of its tab, which begins with a line about the step."""
    expect(page.locator(".gs-why-step")).not_to_be_empty()
    return float(
        page.evaluate(
            """(selector) => document.querySelector(selector).getBoundingClientRect().top
                - document.querySelector("#gs-page-why").getBoundingClientRect().top""",
            selector,
        )
    )


class Gated(ScriptedEngine):
    """From the second text that it scores on, it waits at a gate."""

    def __init__(self, name: str = "scripted") -> None:
        super().__init__(name=name)
        self.gate = threading.Event()

    def score(self, token_ids: Sequence[int], continuation_ids: Sequence[int], *, top_k: int) -> Iterator[StepScores]:
        found = super().score(token_ids, continuation_ids, top_k=top_k)
        if len(self.read) > 1:
            self.gate.wait(60)
        return found


class Slow(ScriptedEngine):
    """After its first step it waits at a gate."""

    def __init__(self, name: str = "scripted") -> None:
        super().__init__(name=name)
        self.gate = threading.Event()

    def steps(self, *args: Any, **options: Any) -> Iterator[Any]:
        for number, step in enumerate(super().steps(*args, **options)):
            if number:
                self.gate.wait(60)
            yield step


def is_stopped(blocks: Any) -> bool:
    """Whether the server has heard of Stop."""
    return bool(blocks.health.registry.get_sample_value("greedyscope_runs_total", {"outcome": "stopped"}))


def saved(page: Page, form: str, folder: Path) -> Path:
    with page.expect_download() as download:
        page.locator(f'[data-file="{form}"]').click()
    download.value.save_as(folder / f"run.{form}")
    return folder / f"run.{form}"
