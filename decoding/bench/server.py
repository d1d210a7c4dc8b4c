"""How much a model's server writes, for one person and for a hundred at once, beside this process's own engine.

`python -m decoding.bench.server --engine URL [--model ID] [--runs 1,8,30,100] [--steps 24] [--repeats 3] [--json]`.
Both engines write the same prompts, one after the other in turn, as `decoding.bench.crowd` has them.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from itertools import count as count_from
from itertools import islice

from decoding.bench.crowd import SERVED, Crowd, measure_crowd
from decoding.bench.loops import CHOICES
from decoding.bench.report import machine
from decoding.command_line.options import Parser, server, whole_number, whole_numbers
from decoding.engines import Engine
from decoding.engines.batching.engine import BatchedEngine
from decoding.engines.loading import load as load_engine
from decoding.engines.vllm.engine import connect
from decoding.errors import GreedyscopeError
from decoding.models.starter import STARTER_ID


def measure_both(here: Engine, there: Engine, *, runs: Sequence[int], steps: int, repeats: int) -> list[Crowd]:
    """Each number of runs over both, in turn; of the repeats, the one in the middle by tokens a second."""
    measured, rounds = [], count_from(0)
    for count in runs:
        tries: dict[str, list[Crowd]] = {"here": [], "there": []}
        for round_ in islice(rounds, repeats):
            tries["here"].append(measure_crowd(here, runs=count, steps=steps, at_once=SERVED, round_=round_))
            # A server has its own line, and the page is started with room for all of it.
            tries["there"].append(measure_crowd(there, runs=count, steps=steps, at_once=count, round_=round_))
        for crowds in tries.values():
            measured.append(sorted(crowds, key=lambda crowd: crowd.tokens_per_second)[repeats // 2])
    return measured


def table(measured: Sequence[Crowd]) -> str:
    """The figures in Markdown."""
    lines = ["| runs at once | engine | tokens/s in all | first step, median (slowest) | from step to step |"]
    lines.append("|---|---|---|---|---|")
    for crowd in measured:
        first = f"{crowd.first:.2f} s ({crowd.slowest_first:.2f} s)"
        numbers = f"{crowd.tokens_per_second:.0f} | {first} | {crowd.step * 1000:.0f} ms"
        lines.append(f"| {crowd.runs} | {crowd.engine} | {numbers} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print. Returns 0, or 2 with a sentence where an engine cannot be had."""
    parser = Parser("python -m decoding.bench.server", (__doc__ or "").splitlines()[0])
    parser.add_argument("--engine", required=True, type=server, metavar="URL", help="the address of a vLLM server")
    parser.add_argument("--model", default=STARTER_ID, help=f"the model that it has ({STARTER_ID})")
    parser.add_argument(
        "--runs", type=whole_numbers(1, 10_000), default=[1, 8, 30, 100], help="how many runs at once (1,8,30,100)"
    )
    parser.add_argument("--steps", type=whole_number(1, 256), default=24, help="steps of each (24)")
    parser.add_argument(
        "--repeats", type=whole_number(1, 100), default=3, help="rounds of each, of which the middle one is shown (3)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    try:
        there = connect(options.engine, model=options.model)
        here = BatchedEngine(load_engine(options.model))
        measure_crowd(here, runs=2, steps=2, at_once=2, round_=-1)  # the first pass is the slowest
        measured = measure_both(here, there, runs=options.runs, steps=options.steps, repeats=options.repeats)
    except GreedyscopeError as error:
        print(error, file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps({"machine": machine(), "measured": [asdict(crowd) for crowd in measured]}, indent=1))
    else:
        print(f"{options.model} on {machine()}, {options.steps} steps each, {CHOICES} choices:\n\n{table(measured)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
