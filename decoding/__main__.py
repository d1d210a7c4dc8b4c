"""The terminal front end: `python -m decoding "Transformers are the" --steps 8 --choices 5`. Knows no page."""

import argparse
import sys
from collections.abc import Sequence

import decoding
from decoding.errors import GreedyscopeError
from decoding.export import to_csv, to_table
from decoding.run import MAX_CHOICES, MAX_STEPS, Run, check_request


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one prompt and print it. Returns 0, or 2 after a request that was refused, its sentence on standard error."""
    options = _parser().parse_args(arguments)
    try:
        request = check_request(options.prompt, _number(options.steps), _number(options.choices))
        model = decoding.load(options.model, device=options.device, dtype=options.dtype)
        run = Run(model, request)
        if options.format == "jsonl":
            for line in run.lines():
                print(line, end="", flush=True)
            return 2 if run.trace.stop_reason == "error" else 0
        for _ in run:
            pass
        print(to_csv(run.trace) if options.format == "csv" else to_table(run.trace), end="")
    except GreedyscopeError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m decoding", description="Decode a prompt greedily and print every step's candidates."
    )
    parser.add_argument("prompt", help="the text to go on from")
    parser.add_argument("--steps", default="8", help=f"how many tokens to decode, 1 to {MAX_STEPS} (8)")
    parser.add_argument("--choices", default="5", help=f"how many candidates to show, 1 to {MAX_CHOICES} (5)")
    parser.add_argument("--model", default="starter", help="a model of the catalogue, or a folder (starter)")
    parser.add_argument("--device", default="auto", help="auto, cuda, mps or cpu (auto)")
    parser.add_argument("--dtype", default="auto", help="auto, float32, bfloat16 or float16 (auto)")
    parser.add_argument("--format", default="table", choices=("table", "jsonl", "csv"), help="what to print (table)")
    return parser


def _number(text: str) -> object:
    """A number as typed; what is none is left to the check that refuses it."""
    try:
        return int(text)
    except ValueError:
        return text


if __name__ == "__main__":
    sys.exit(main())
