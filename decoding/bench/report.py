"""The benchmark's result: what `--json` prints, and the table for people, with the aims beside the figures.

Judges nothing, because speed depends on the machine and the hour. Measures nothing.
"""

import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import torch

from decoding.bench.page import PageTimes
from decoding.bench.rows import Measured, Row
from decoding.bench.startup import AIM as STARTUP_AIM
from decoding.bench.startup import StartupTimes
from decoding.record.trace import ModelInfo


@dataclass(frozen=True, slots=True)
class Aim:
    """What the project aims at, and what was measured, each as it is read by people."""

    what: str
    aim: str
    measured: str


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes: the weights, the whole process of app.py after its runs, and the most that torch held on a GPU here, with
    every contender's share. None was not measured.
    """

    weight_bytes: int
    page_bytes: int | None
    gpu_peak_bytes: int | None


@dataclass(frozen=True, slots=True)
class Result:
    """One benchmark, as `--json` prints it."""

    date: str
    machine: str
    model: ModelInfo
    choices: int
    repeats: int
    rows: tuple[Row, ...]
    share_outside_forward: float
    first_step_ms: float
    memory: Memory
    startup: StartupTimes | None
    page: PageTimes | None
    notes: tuple[str, ...]
    aims: tuple[Aim, ...]


def machine() -> str:
    """The hardware in a line, and how busy it is."""
    load = f", load average {os.getloadavg()[0]:.1f} before" if hasattr(os, "getloadavg") else ""  # Windows has none
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    threads = torch.get_num_threads()
    return f"{platform.system()} {_processor()}, {os.cpu_count()} cores, {threads} threads{gpu}{load}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def aims(
    measured: Sequence[Measured], *, device: str, outside: float, first_ms: float, startup: StartupTimes | None
) -> Iterator[Aim]:
    """What the loops and the start are held against."""
    is_gpu = device != "cpu"
    for each in measured:
        rows = {row.name: row for row in each.rows}
        best, ours, book = rows["best"], rows["loop"], rows["notebook"]
        here = f"{best.prompt_tokens:,} + {best.steps}"
        times = best.ratio_to_generate / book.ratio_to_generate
        yield Aim(f"best × generate, {here}", "≥ 3" if is_gpu else "≥ 1.6", f"{best.ratio_to_generate:.2f}")
        yield Aim(f"best × notebook, {here}", "≥ 5 at 64 steps", f"{times:.2f}")
        share = rows["limit"].ms_per_step / best.ms_per_step
        yield Aim(f"best of the limit, {here}", "≥ 58 %" if is_gpu else "≥ 50 %", f"{share:.0%}")
        yield Aim(f"loop × generate, {here}", "≥ 1", f"{ours.ratio_to_generate:.2f}")
    yield Aim("outside the forward pass", "< 2 %", f"{outside:.1%}")
    yield Aim("first step after the request, short prompt", "≤ 30 ms" if is_gpu else "–", f"{first_ms:.1f} ms")
    if startup:
        was = f"{startup.ratio:.2f} ({startup.first_step_seconds:.2f} s, page after {startup.page_seconds:.2f} s)"
        yield Aim("start to first step over a bare process", f"≤ {STARTUP_AIM}", was)


def page_aims(page: PageTimes) -> Iterator[Aim]:
    """What the page adds."""

    def added(seconds: float | None, over_loop: float | None) -> str:
        if seconds is None or over_loop is None:
            return "not measured"
        a_step = (seconds - page.loop_seconds) / page.steps * 1000
        whole = f"{seconds:.2f} s, bare loop {page.loop_seconds:.2f} s"
        return f"{over_loop - 1:+.1%}, {a_step:+.1f} ms a step ({whole})"

    client, browser = (
        added(page.client_seconds, page.client_over_loop),
        added(page.browser_seconds, page.browser_over_loop),
    )
    yield Aim(f"page over the bare loop, API's client, {page.steps} steps", "≤ 10 %", client)
    yield Aim(f"page over the bare loop, browser, {page.steps} steps", "≤ 10 %", browser)
    late = None if page.first_bar_seconds is None else page.first_bar_seconds - page.first_forward_seconds
    yield Aim("first bar after the first forward pass", "≤ 0.1 s", "not measured" if late is None else f"{late:.3f} s")


def table(result: Result, measured: Sequence[Measured]) -> str:
    """The result for people; `measured` are its rows by prompt and steps."""
    model = result.model
    names = [field.name for field in fields(Row)]
    cells = [[_cell(getattr(row, name)) for name in names] for row in result.rows]
    counts = [part.notebook_steps for part in measured for _ in part.rows]
    for line, row, count in zip(cells, result.rows, counts, strict=True):
        if row.name == "notebook" and count < row.steps:
            line[names.index("steps")] += f" ({count} measured)"
    memory = {
        "weights": result.memory.weight_bytes,
        "app.py": result.memory.page_bytes,
        "GPU": result.memory.gpu_peak_bytes,
    }
    sizes = " · ".join(f"{what} {size / 1e6:,.0f} MB" for what, size in memory.items() if size is not None)
    lines = [
        f"{model.id} · {model.dtype} · {model.device} · {model.engine} · {result.machine}",
        f"{result.choices} choices, medians of {result.repeats}, {result.date}",
        "",
        *_columns([names, *cells]),
        "",
        *_columns([["", "aim", "measured"], *([aim.what, aim.aim, aim.measured] for aim in result.aims)]),
        "",
        f"Memory: {sizes}",
        *result.notes,
    ]
    return "\n".join(lines)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.1e}" if 0 < value < 0.001 else f"{value:.2f}"
    return "–" if value is None else str(value)


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
