"""The benchmark's result: what `--json` prints, and the table for people, with the aims beside the figures.

Judges nothing, because speed depends on the machine and the hour. Measures nothing.
"""

import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import torch

from decoding.bench.contenders import Measured, Row
from decoding.bench.crowd import Crowd
from decoding.bench.memory import ResidentBytes
from decoding.bench.page_times import PageTimes
from decoding.bench.startup import AIMS as STARTUP_AIMS
from decoding.bench.startup import StartupTimes
from decoding.bench.why_times import LENS_STEPS, WITHOUT_SECONDS, WhyTimes
from decoding.record.trace import ModelInfo

CROWD_AIMS = {8: 330, 30: 600, 100: 650}
"""Tokens a second: 1.65 times what vLLM wrote on the same two cores."""
MEMORY_AIMS = {"after ten runs": 450, "in a class": 1200, "five minutes later": 500}


@dataclass(frozen=True, slots=True)
class Aim:
    """What the project aims at, and what was measured, each as it is read by people."""

    what: str
    aim: str
    measured: str


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes: the float32 weights, the process of app.py, and the most that torch held on a GPU here, with every
    contender's share. None was not measured.
    """

    weight_bytes: int
    page: ResidentBytes | None
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
    readout_share: float
    first_step_ms: float
    long_prompt_ratio: float | None
    why: WhyTimes
    crowds: tuple[Crowd, ...]
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


def aims(result: Result, measured: Sequence[Measured], *, device: str, is_float32: bool) -> Iterator[Aim]:
    """What the loops, the crowd, the start and the memory are held against:
    four-bit weights are read in a quarter of the time of the limit's float32, so only float32 is held against it.
    """
    is_gpu = device != "cpu"
    for each in measured:
        rows = {row.name: row for row in each.rows}
        best, book = rows["best"], rows["notebook"]
        here = f"{best.prompt_tokens:,} + {best.steps}"
        least = "≥ 3" if is_gpu else "–" if is_float32 else "≥ 6"
        yield Aim(f"best × generate, {here}", least, f"{best.ratio_to_generate:.2f}")
        times = best.ratio_to_generate / book.ratio_to_generate
        yield Aim(f"best × notebook, {here}", "≥ 5" if is_gpu else "–" if is_float32 else "≥ 17", f"{times:.2f}")
        if is_gpu or is_float32:
            share = rows["limit"].ms_per_step / best.ms_per_step
            yield Aim(f"best of the limit, {here}", "≥ 58 %" if is_gpu else "≥ 85 %", f"{share:.0%}")
        if "llama.cpp" in rows:
            ahead = rows["llama.cpp"].ms_per_step / best.ms_per_step
            yield Aim(f"best × llama.cpp, {here}", "> 1", f"{ahead:.2f}")
    yield Aim("a readout, of a pass", "≤ 5 %", f"{result.readout_share:.1%}")
    yield Aim(
        "first step after the request, short prompt", "≤ 30 ms" if is_gpu else "–", f"{result.first_step_ms:.1f} ms"
    )
    if result.long_prompt_ratio is not None:
        yield Aim("first step × generate, prompt of 1,000", "≥ 1.8", f"{result.long_prompt_ratio:.2f}")
    yield from _why_aims(result.why)
    for crowd in result.crowds:
        wanted = CROWD_AIMS.get(crowd.runs)
        yield Aim(
            f"{crowd.runs} runs at once", f"≥ {wanted} tokens/s" if wanted else "–", f"{crowd.tokens_per_second:.0f}"
        )
    yield from _process_aims(result)


def _why_aims(why: WhyTimes) -> Iterator[Aim]:
    found = "not measured: the layers cannot be read" if why.lens_over_step is None else f"{why.lens_over_step:.2f}"
    yield Aim("a lens on one step, in steps", f"≤ {LENS_STEPS}", found)
    without = f"{why.without_seconds:.2f} s, or {why.without_over_step:.0f} steps"
    yield Aim(f"leaving out {why.tokens} tokens of {why.tokens}", f"≤ {WITHOUT_SECONDS:g} s", without)


def _process_aims(result: Result) -> Iterator[Aim]:
    if start := result.startup:
        for name, seconds in zip(
            STARTUP_AIMS, (start.page_seconds, start.first_step_seconds, start.terminal_seconds), strict=True
        ):
            yield Aim(f"start: {name}", f"≤ {STARTUP_AIMS[name]} s", f"{seconds:.2f} s")
    if resident := result.memory.page:
        found = (resident.after_ten, resident.in_class, resident.later)
        for (name, least), size in zip(MEMORY_AIMS.items(), found, strict=True):
            yield Aim(f"resident: {name}", f"≤ {least} MB", "not measured" if size is None else f"{size / 1e6:.0f} MB")


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
    yield Aim(f"page over the bare loop, browser, {page.steps} steps", "≤ +1.5 ms a step", browser)
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
