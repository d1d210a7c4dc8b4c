"""How fast it is: our loop beside two others, a step's share outside the model, and what the page adds.

`python -m decoding.bench [--model ID] [--steps 64,256] [--repeats 5] [--json] [--no-page]`. Owns the command, the table
and the aims. Judges nothing, because speed depends on the machine and the hour: each aim stands beside what was
measured. `loops` knows the loops, `page` the page.
"""

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from functools import partial

from decoding.bench.loops import CHOICES, Row, bare_loop, load_best, load_endless, measure_loops, measure_outside
from decoding.bench.page import PageTimes, measure_page
from decoding.errors import GreedyscopeError
from decoding.run import Request
from decoding.trace import ModelInfo

PROMPT = "Transformers are the"


@dataclass(frozen=True, slots=True)
class Aim:
    """What the project aims at, and what was measured, each as it is read by people."""

    what: str
    aim: str
    measured: str


@dataclass(frozen=True, slots=True)
class Result:
    """One benchmark, as `--json` prints it."""

    date: str
    machine: str
    model: ModelInfo
    prompt: str
    choices: int
    repeats: int
    rows: tuple[Row, ...]
    share_outside_forward: float
    page: PageTimes | None
    aims: tuple[Aim, ...]


def measure(options: argparse.Namespace) -> Result:
    """Everything that was asked for. The first of the step counts is also the one that the page is measured with."""
    load = f", load average {os.getloadavg()[0]:.1f} before" if hasattr(os, "getloadavg") else ""  # Windows has none
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores{load}"
    date = datetime.now().astimezone().isoformat(sep=" ", timespec="minutes")
    engine = load_endless(options.model, device=options.device, dtype=options.dtype)
    fastest = load_best(options.model, device=options.device, dtype=options.dtype)
    token_ids = engine.vocabulary.encode(PROMPT)
    rows: list[Row] = []
    for steps in options.steps:
        rows += measure_loops(engine, fastest, token_ids, steps=steps, repeats=options.repeats, say=say)
    short = options.steps[0]
    say("the share outside the forward pass")
    outside = measure_outside(fastest, PROMPT, steps=short, repeats=options.repeats)
    page = None
    if options.page:
        page = measure_page(
            partial(bare_loop, fastest, token_ids),
            Request(PROMPT, short, CHOICES),
            model=options.model,
            options=[f"--device={options.device}", f"--dtype={options.dtype}"],
            repeats=options.repeats,
            say=say,
        )
    return Result(
        date=date,
        machine=machine,
        model=engine.info,
        prompt=PROMPT,
        choices=CHOICES,
        repeats=options.repeats,
        rows=tuple(rows),
        share_outside_forward=outside,
        page=page,
        aims=(*_loop_aims(rows, outside), *(_page_aims(page) if page else ())),
    )


def _loop_aims(rows: Sequence[Row], outside: float) -> list[Aim]:
    ours, fastest = ([row for row in rows if row.name == name] for name in ("loop", "best"))
    return [
        *(Aim(f"best × notebook, {r.steps} steps", "≥ 5 at 64", f"{r.ratio_to_notebook:.2f}") for r in fastest),
        *(Aim(f"best × generate, {r.steps} steps", "≥ 1.6", f"{r.ratio_to_generate:.2f}") for r in fastest),
        *(Aim(f"loop × notebook, {r.steps} steps", "≥ 2.5 at 64", f"{r.ratio_to_notebook:.2f}") for r in ours),
        *(Aim(f"loop × generate, {r.steps} steps", "≥ 1", f"{r.ratio_to_generate:.2f}") for r in ours),
        Aim(f"outside the forward pass, {rows[0].steps} steps", "< 2 %", f"{outside:.1%}"),
    ]


def _page_aims(page: PageTimes) -> list[Aim]:
    def added(seconds: float | None, over_loop: float | None) -> str:
        if seconds is None or over_loop is None:
            return "not measured"
        return f"{over_loop - 1:+.1%} ({seconds:.2f} s, bare loop {page.loop_seconds:.2f} s)"

    late = None if page.first_bar_seconds is None else page.first_bar_seconds - page.first_forward_seconds
    return [
        Aim(
            f"page over the bare loop, API's client, {page.steps} steps",
            "≤ 10 %",
            added(page.client_seconds, page.client_over_loop),
        ),
        Aim(
            f"page over the bare loop, browser, {page.steps} steps",
            "≤ 10 %",
            added(page.browser_seconds, page.browser_over_loop),
        ),
        Aim("first bar after the first forward pass", "≤ 0.1 s", "not measured" if late is None else f"{late:.3f} s"),
    ]


def table(result: Result) -> str:
    """The result for people."""
    model = result.model
    names = [field.name for field in fields(Row)]
    cells = [names, *([_cell(getattr(row, name)) for name in names] for row in result.rows)]
    notes = result.page.notes if result.page else ("The page was not measured.",)
    lines = [
        f"{model.id} · {model.dtype} · {model.device} · {model.engine} · {result.machine}",
        f'"{result.prompt}", {result.choices} choices, medians of {result.repeats}, {result.date}',
        "",
        *_columns(cells),
        "",
        *_columns([["", "aim", "measured"], *([aim.what, aim.aim, aim.measured] for aim in result.aims)]),
        *notes,
    ]
    return "\n".join(lines)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.1e}" if 0 < value < 0.001 else f"{value:.2f}"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def say(what: str) -> None:
    """Word of progress, beside the result and not in it."""
    print(f"… {what}", file=sys.stderr, flush=True)


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError
    return number


def _repeats(text: str) -> int:
    if (number := _positive(text)) > 20:  # the page has no more requests that differ
        raise ValueError
    return number


def _positives(text: str) -> list[int]:
    return [_positive(number) for number in text.split(",")]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m decoding.bench",
        description="Measure how fast the loop and the page are, beside two other ways.",
    )
    parser.add_argument("--model", default="starter", help="a model of the catalogue, or a folder (starter)")
    parser.add_argument("--device", default="auto", help="auto, cuda, mps or cpu (auto)")
    parser.add_argument("--dtype", default="auto", help="auto, float32, bfloat16 or float16 (auto)")
    parser.add_argument("--steps", type=_positives, default=[64, 256], help="step counts, with commas (64,256)")
    parser.add_argument("--repeats", type=_repeats, default=5, help="turns of each contender, at most 20 (5)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.add_argument("--no-page", dest="page", action="store_false", help="leave the page out")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print. Returns 0, or 2 where the model or the steps were refused."""
    options = _parser().parse_args(arguments)
    try:
        result = measure(options)
    except GreedyscopeError as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps(asdict(result), ensure_ascii=False) if options.json else table(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
