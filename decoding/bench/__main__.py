"""How fast it is: the page's own engine beside the notebook's loop, `generate`, the classroom's loop over torch and the
memory's limit; many runs at once, a start, memory, and what the page adds.

`python -m decoding.bench [--model ID | --shape NAME] [--prompts 10,100,1000] [--steps 64,256] [--repeats 5] [--json]
[--llama-cpp [FILE]] [--crowds 8,30,100] [--no-crowds] [--no-page] [--no-wait] [--no-start]`. Owns the command and the
order; each part is a file of its own beside this one.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime
from functools import partial

import torch

from decoding.bench.clock import bare_loop, measure_first_step, measure_outside
from decoding.bench.contenders import Measured, measure_rows
from decoding.bench.crowd import Crowd, measure_crowd, measure_here
from decoding.bench.llama import NAME as LLAMA
from decoding.bench.llama import load_llama
from decoding.bench.loops import CHOICES, generate, loop
from decoding.bench.measured_models import Subject, load_subject
from decoding.bench.memory import ResidentBytes, measure_resident
from decoding.bench.memory_bandwidth import weight_bytes
from decoding.bench.page_times import PageTimes, measure_page
from decoding.bench.report import Memory, Result, aims, machine, page_aims, table
from decoding.bench.startup import StartupTimes, measure_startup
from decoding.bench.why_times import measure_why
from decoding.command_line.options import Parser, whole_number, whole_numbers
from decoding.engines.batching.engine import BatchedEngine
from decoding.errors import GreedyscopeError, ModelError, RequestError
from decoding.run import Request

PROMPT = "Transformers are the"
SHORT_PROMPT, LONG_PROMPT = 10, 1000
CROWD_STEPS = 64


def measure(options: argparse.Namespace) -> tuple[Result, list[Measured]]:
    """Everything that was asked for. The first of the step counts is also the one that the page is measured with."""
    date, hardware = datetime.now().astimezone().isoformat(sep=" ", timespec="minutes"), machine()
    subject = load_subject(options.model, shape=options.shape, device=options.device, dtype=options.dtype)
    device = subject.plain.info.device.split(":")[0]
    sizes, notes = sizes_that_fit(subject, options.prompts, options.steps)
    others = {}
    if options.llama_cpp:
        longest = max(prompt + steps for prompt, steps in sizes)
        others[LLAMA] = load_llama(
            options.llama_cpp,
            tokens=longest,
            vocabulary_size=subject.plain.vocabulary_size,
            report=lambda message, _: say(message),
        )
    measured = [
        measure_rows(subject, others, subject.prompt(prompt), steps=steps, repeats=options.repeats, say=say)
        for prompt, steps in sizes
    ]
    say("the first step, and the share outside the forward pass")
    outside, readout = measure_outside(subject.fastest, PROMPT, steps=options.steps[0], repeats=options.repeats)
    say("why this token: a lens, and leaving out")
    why = measure_why(subject, repeats=options.repeats)
    peak = torch.cuda.max_memory_allocated() if device == "cuda" else None
    startup, page, resident = None, None, None
    if subject.name is None:
        notes.append("The page and a start were not measured: a shape has no files for app.py to load.")
    else:
        startup = _start(subject.name, options, notes) if options.start else None
        page = _page(subject, options) if options.page else None
        notes += page.notes if page else ["The page was not measured."]
        resident = _resident(subject.name, options) if options.page else None
    result = Result(
        date=date,
        machine=hardware,
        model=subject.fastest.info,
        choices=CHOICES,
        repeats=options.repeats,
        rows=tuple(row for each in measured for row in each.rows),
        share_outside_forward=outside,
        readout_share=readout,
        first_step_ms=_first_step(subject, SHORT_PROMPT, options.repeats) * 1000,
        long_prompt_ratio=_long_prompt(subject, options.repeats),
        why=why,
        crowds=_crowds(subject, options),
        memory=Memory(weight_bytes(subject.network), resident, peak),
        startup=startup,
        page=page,
        notes=(*notes, *(note for each in measured for note in each.notes)),
        aims=(),
    )
    held = aims(result, measured, device=device, is_float32=subject.fastest.info.engine.endswith(", float32"))
    return replace(result, aims=(*held, *(page_aims(page) if page else ()))), measured


def _first_step(subject: Subject, tokens: int, repeats: int) -> float:
    return measure_first_step(partial(loop, subject.fastest, subject.prompt(tokens), 1), repeats=repeats)


def _long_prompt(subject: Subject, repeats: int) -> float | None:
    """How many times sooner than `generate`'s the first step after a long prompt is there."""
    if subject.plain.context_length is not None and subject.plain.context_length <= LONG_PROMPT:
        return None
    theirs = partial(generate, subject.network, subject.prompt(LONG_PROMPT), 1)
    return measure_first_step(theirs, repeats=repeats) / _first_step(subject, LONG_PROMPT, repeats)


def _crowds(subject: Subject, options: argparse.Namespace) -> tuple[Crowd, ...]:
    """Many runs at once, through the page's engine; last of all, because it changes the engine."""
    if not options.crowds:
        return ()
    say("many runs at once")
    engine = BatchedEngine(subject.fastest)
    measure_crowd(engine, runs=8, steps=2, at_once=8, round_=-1)  # the first passes are the slowest
    return tuple(measure_here(engine, runs=options.crowds, steps=CROWD_STEPS, repeats=options.repeats))


def _resident(model: str, options: argparse.Namespace) -> ResidentBytes:
    say("memory of the page" + (", with five minutes of waiting" if options.wait else ""))
    return measure_resident(model, [f"--device={options.device}", f"--dtype={options.dtype}"], wait=options.wait)


def sizes_that_fit(
    subject: Subject, prompts: Sequence[int], steps: Sequence[int]
) -> tuple[list[tuple[int, int]], list[str]]:
    """Prompt tokens and steps of each part, and what is to be said of prompts that had to be shortened.

    Raises RequestError for more steps than the context holds.
    """
    context, notes, sizes = subject.plain.context_length, [], []
    for prompt in prompts:
        for count in steps:
            if context is not None and count >= context:
                raise RequestError(
                    f"{count} steps do not fit: {subject.plain.info.id} has room for {context - 1}.", field="steps"
                )
            fits = prompt if context is None else min(prompt, context - count)
            if fits < prompt:
                notes.append(f"A prompt of {prompt:,} tokens and {count} steps do not fit; {fits:,} and {count} do.")
            sizes.append((fits, count))
    return list(dict.fromkeys(sizes)), notes


def _start(model: str, options: argparse.Namespace, notes: list[str]) -> StartupTimes | None:
    try:
        return measure_startup(model, device=options.device, dtype=options.dtype, repeats=options.repeats, say=say)
    except ModelError as error:  # the bare process finds a model of the Hub's under its whole name only
        notes.append(f"A start was not measured. {error}")
        return None


def _page(subject: Subject, options: argparse.Namespace) -> PageTimes:
    return measure_page(
        partial(bare_loop, subject.fastest, subject.plain.vocabulary.encode(PROMPT)),
        Request(PROMPT, options.steps[0], CHOICES),
        model=str(subject.name),
        options=[f"--device={options.device}", f"--dtype={options.dtype}"],
        repeats=options.repeats,
        say=say,
    )


def say(what: str) -> None:
    """Word of progress, beside the result and not in it."""
    print(f"… {what}", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        "python -m decoding.bench",
        "Measure how fast the loop and the page are, beside other ways and beside the memory's limit. "
        "As it is, about a quarter of an hour on two cores.",
    )
    parser.add_argument("--model", default="starter", help="a model of the catalogue, or a folder (starter)")
    parser.add_argument("--shape", help="random weights instead, of the shape of starter, gpt2 or gpt2-xl")
    parser.add_argument("--device", default="auto", help="auto, cuda, mps or cpu (auto)")
    parser.add_argument("--dtype", default="auto", help="auto, float32, bfloat16 or float16 (auto)")
    parser.add_argument(
        "--prompts", type=whole_numbers(1, 1_000_000), default=[10, 100, 1000], help="prompt lengths (10,100,1000)"
    )
    parser.add_argument(
        "--steps", type=whole_numbers(1, 100_000), default=[64, 256], help="step counts, with commas (64,256)"
    )
    parser.add_argument(
        "--repeats", type=whole_number(1, 20), default=5, help="turns of each contender, at most 20 (5)"
    )
    parser.add_argument(
        "--llama-cpp",
        nargs="?",
        const="starter",
        metavar="FILE",
        help="llama.cpp as well, if its Python package is installed; with the starter's GGUF, or FILE",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.add_argument("--no-page", dest="page", action="store_false", help="leave the page out")
    parser.add_argument("--crowds", type=whole_numbers(1, 1_000), default=[8, 30, 100], help="runs at once (8,30,100)")
    parser.add_argument("--no-crowds", dest="crowds", action="store_const", const=[], help="leave these out")
    parser.add_argument("--no-wait", dest="wait", action="store_false", help="do not wait for memory to be given back")
    parser.add_argument("--no-start", dest="start", action="store_false", help="leave the start-up out")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print. Returns 0, or 2 where something that was asked for was refused."""
    options = _parser().parse_args(arguments)
    try:
        result, measured = measure(options)
    except GreedyscopeError as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps(asdict(result), ensure_ascii=False) if options.json else table(result, measured))
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # a normal exit stops threads that still compute, which aborts the process
