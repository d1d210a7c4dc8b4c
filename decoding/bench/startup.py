"""How long a start takes: `app.py` in a process of its own, and the terminal's command.

`python -m decoding.bench.startup [--model ID] [--device …] [--dtype …] [--repeats 5]`, or `measure_startup`. Owns the
stopwatch. A warm start is measured: one start of each goes before, so that the disk has been read.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from time import perf_counter
from urllib.request import urlopen

from decoding.bench.page_times import ROOT, app_process, greedy_lines
from decoding.errors import ModelError
from decoding.models.starter import STARTER_ID

PROMPT = "Transformers are the"
AIMS = {"page": 1.5, "first step": 2.2, "terminal": 1.2}
"""Seconds."""


@dataclass(frozen=True, slots=True)
class StartupTimes:
    """Medians, in seconds from the start of a process: until the page answers, until the first step of a run that was
    asked for at once is there, and until the terminal has printed its first step.
    """

    page_seconds: float
    first_step_seconds: float
    terminal_seconds: float
    repeats: int


def measure_startup(
    model: str, *, device: str = "auto", dtype: str = "auto", repeats: int = 5, say: Callable[[str], None] = print
) -> StartupTimes:
    """Start both, turn by turn. Raises ModelError where one of them does not come up."""
    options = [f"--model={model}", f"--device={device}", f"--dtype={dtype}"]
    turns: list[tuple[float, float, float]] = []
    for turn in range(repeats + 1):
        say(f"start-up, turn {turn} of {repeats}" if turn else "start-up, once for warmth")
        turns.append((_terminal(options), *_page(model, options)))
    terminal, page, first = zip(*turns[1:], strict=True)
    return StartupTimes(median(page), median(first), median(terminal), repeats)


def _terminal(options: Sequence[str]) -> float:
    """Seconds until the terminal has printed its first step."""
    started = perf_counter()
    command = [sys.executable, "-m", "decoding", PROMPT, "--steps=1", "--format=jsonl", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout
        lines = [process.stdout.readline() for _ in range(2)]
        seconds = perf_counter() - started
        _, errors = process.communicate()
    if '"index"' not in lines[-1]:
        raise ModelError(f"The terminal ended (code {process.returncode}) before its first step: {errors[-300:]}")
    return seconds


def _page(model: str, options: Sequence[str]) -> tuple[float, float]:
    """Seconds until the page has answered, and until the first step is there."""
    started = perf_counter()
    with app_process(options) as (url, _):
        with urlopen(url) as answer:
            answer.read()
        page = perf_counter() - started
        if not any('"index"' in line for line in greedy_lines(url, model, PROMPT, steps=1)):
            raise ModelError("The page answered with no step.")
        return page, perf_counter() - started


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m decoding.bench.startup", description=__doc__)
    parser.add_argument("--model", default=STARTER_ID)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--repeats", type=int, default=5)
    options = vars(parser.parse_args(arguments))
    times = measure_startup(**options, say=lambda what: print(f"… {what}", file=sys.stderr, flush=True))
    print(json.dumps(asdict(times) | {"aims": AIMS}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
