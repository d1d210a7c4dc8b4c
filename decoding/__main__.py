"""The command line: `python -m decoding "Transformers are the" --steps 8 --choices 5`, and `python -m decoding check
FILE`.

Owns the options, what is printed, and the exit codes. Knows no page.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import decoding
from decoding.command_line.options import Parser, engine, one_of
from decoding.command_line.program import run_program, set_file_encoding, write
from decoding.command_line.progress_line import progress_line
from decoding.command_line.run_options import add_picking_options, requested
from decoding.engines import Engine, is_server
from decoding.errors import FormatError, GreedyscopeError
from decoding.export import one_line, summary, to_csv, to_table
from decoding.limits import MAX_CHOICES, MAX_STEPS
from decoding.messages import Message
from decoding.questions.verify import TOLERANCE, check_repeatable, read_run, recompute
from decoding.run import Run


def main(arguments: Sequence[str] | None = None) -> int:
    """Decode one prompt and print it, or check a file. Returns the exit code: 0, or 2 after an error, whose sentence is
    on standard error; `check` may also return 1. After an error in mid-run, and after Ctrl+C, which raises
    KeyboardInterrupt, the steps that are there are printed.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["check"]:
        return check(arguments[1:])
    options = _parser().parse_args(arguments)
    try:
        request = requested(options)
        model = _model(options, options.model, options.dtype)
        run = Run(model, request)
        if options.format != "table":
            set_file_encoding()
        if options.format == "jsonl":
            _write_lines(run)
        else:
            _write_whole(run, to_csv if options.format == "csv" else to_table)
    except GreedyscopeError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _write_lines(run: Run) -> None:
    """Print the run as JSON Lines while it grows. Raises what ended it, after its last line."""
    lines = run.lines()
    try:
        for line in lines:
            write(line)
    except KeyboardInterrupt as stop:
        write(lines.throw(stop))  # Ctrl+C while a line was written; raises again where the run has written its end
        raise
    if run.trace.stop_reason == "error":
        raise GreedyscopeError(run.trace.message)


def _write_whole(run: Run, form: Callable[[decoding.Trace], str]) -> None:
    """Decode to the end, or until Ctrl+C or an error, and print the steps that are there. Raises what ended the run."""
    try:
        for _ in run:
            pass
    except GreedyscopeError:
        if run.trace.steps:
            write(form(replace(run.trace, message="")))  # the sentence follows, on standard error
        raise
    except KeyboardInterrupt:
        write(form(run.trace))
        raise
    write(form(run.trace))


def check(arguments: Sequence[str]) -> int:
    """Check whether a file is a run, and with --recompute whether a model reproduces it. Returns 0 for yes, 1 for no, 2
    if that is unknown; the sentences for 1 and 2 are on standard error.
    """
    options = _check_parser().parse_args(arguments)
    file: Path = options.file
    verdict = f"{file} is no well-formed run."
    try:
        trace = read_run(file)
        print(one_line(f"{file} is a well-formed run: {summary(trace)}."))
        if options.recompute or options.model:
            check_repeatable(trace)
            name = options.model or trace.model.id
            verdict = f"{name} does not give these numbers."
            worst = recompute(_model(options, name, options.dtype or _dtype(trace)), trace)
            off = f"at most {worst:.0e} off" if worst else "no difference at all"
            print(f"{name} still gives its tokens, and its probabilities to within {TOLERANCE} ({off}).")
    except FormatError as error:
        print(one_line(f"{verdict} {error}"), file=sys.stderr)
        return 1
    except GreedyscopeError as error:
        print(one_line(str(error)), file=sys.stderr)
        return 2
    return 0


def _model(options: argparse.Namespace, name: str, dtype: str) -> Engine:
    """The model of the options, in this process or on a server."""
    device = getattr(options, "device", "auto")
    with progress_line() as report:
        if is_server(options.engine):
            return decoding.connect(options.engine, model=name, dtype=dtype, report=report)
        return decoding.load(name, device=device, dtype=dtype, engine=options.engine, report=report)


def _dtype(trace: decoding.Trace) -> str:
    """The dtype of a run; "auto" if a server made it and did not report one."""
    return "auto" if trace.model.dtype == Message("engine.dtype") else trace.model.dtype


_ENGINE = "auto, torch, or the address of a vLLM server that computes, as http://127.0.0.1:8000 (auto)"


def _check_parser() -> argparse.ArgumentParser:
    parser = Parser(
        "python -m decoding check",
        "Say whether a file of JSON Lines is a run. Exit code 0: it is, 1: it is not, 2: nobody can say.",
        epilog='To go on from the word "check" itself: python -m decoding --steps 2 -- check',
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="a run as JSON Lines")
    parser.add_argument("--recompute", action="store_true", help="have the model write the run again, and compare")
    parser.add_argument("--model", metavar="ID", help="the model that writes it again (the one that the file names)")
    parser.add_argument("--engine", type=engine, default="auto", help=_ENGINE)
    parser.add_argument("--dtype", default="", help="auto, float32, bfloat16 or float16 (the one that the file names)")
    return parser


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        "python -m decoding",
        "Decode a prompt greedily and print every step's candidates.",
        epilog='"python -m decoding check FILE" checks a kept run; "--steps 2 -- check" goes on from that word.',
    )
    parser.add_argument("prompt", help="the text to go on from")
    parser.add_argument("--steps", default="8", help=f"how many tokens to decode, 1 to {MAX_STEPS} (8)")
    parser.add_argument("--choices", default="5", help=f"how many candidates to show, 1 to {MAX_CHOICES} (5)")
    parser.add_argument(
        "--model", default="starter", help="a model of the catalogue, a GGUF file or a folder (starter)"
    )
    parser.add_argument("--engine", type=engine, default="auto", help=_ENGINE)
    parser.add_argument("--device", default="auto", help="auto, cuda, mps or cpu (auto)")
    parser.add_argument("--dtype", default="auto", help="auto, float32, bfloat16 or float16 (auto)")
    add_picking_options(parser)
    forms = one_of("table", "jsonl", "csv")
    parser.add_argument("--format", default="table", type=forms, help="what to print: table, jsonl or csv (table)")
    return parser


if __name__ == "__main__":
    run_program(main)
