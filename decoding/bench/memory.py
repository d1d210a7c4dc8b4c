"""What the page's process holds in memory: after ten runs one by one, while a class writes, and five minutes later.

Owns the runs, asked for over bare HTTP, and the looks at the process. Knows no model.
"""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

from decoding.bench.page_times import app_process, greedy_lines

RUNS_ALONE, CLASS, STEPS = 10, 30, 64
LATER_SECONDS = 300.0
_POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class ResidentBytes:
    """`later` is None where nobody waited."""

    after_ten: int
    in_class: int
    later: int | None


def measure_resident(model: str, options: Sequence[str], *, wait: bool) -> ResidentBytes:
    """Start the page, run it, and look. The class asks for other texts, all at once; its largest look counts."""
    with app_process([f"--model={model}", *options]) as (url, process):
        looked = psutil.Process(process.pid)

        def resident() -> int:
            return int(looked.memory_info().rss)

        for number in range(RUNS_ALONE):
            run(url, model, f"The number {number} is")
        alone = resident()
        threads = [
            threading.Thread(target=run, args=(url, model, f"In room {number} the class was"), daemon=True)
            for number in range(CLASS)
        ]
        for thread in threads:
            thread.start()
        most = alone
        while any(thread.is_alive() for thread in threads):
            most = max(most, resident())
            time.sleep(_POLL_SECONDS)
        if not wait:
            return ResidentBytes(alone, most, None)
        time.sleep(LATER_SECONDS)
        return ResidentBytes(alone, most, resident())


def run(url: str, model: str, prompt: str) -> None:
    """One run, read to its end."""
    for _ in greedy_lines(url, model, prompt, steps=STEPS):
        pass
