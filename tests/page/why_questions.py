"""What the tests of "Why?" share: a run, and engines that wait at a gate."""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

from decoding.record.step import StepScores
from tests.fakes import ScriptedEngine


def press_run(page: Page, prompt: str, steps: str) -> None:
    page.fill("#prompt textarea", prompt)
    page.fill("#steps input", steps)
    page.click("#run")


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
