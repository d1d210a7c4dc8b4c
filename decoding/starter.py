"""`python -m decoding.starter`: prepares the starter model, for instance ahead of a lesson.

With `--safetensors` it also writes transformers' files, for a vLLM server. Owns the command alone;
`decoding.models.starter` does the work.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from decoding.command_line.options import Parser
from decoding.command_line.program import run_program
from decoding.command_line.progress_line import progress_line
from decoding.errors import ModelError
from decoding.models.progress import Report
from decoding.models.starter import ensure_starter


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the starter's folder to standard output, and everything else to standard error. Returns the exit code."""
    parser = Parser("python -m decoding.starter", "Fetch the starter model into the cache, and print its folder.")
    parser.add_argument("--safetensors", action="store_true", help="write its files for transformers and vLLM, too")
    prepare: Callable[[Report], Path] = ensure_starter
    if parser.parse_args(arguments).safetensors:
        from decoding.engines.torch.safetensors_folder import starter_safetensors  # here: torch takes seconds

        prepare = starter_safetensors
    try:
        with progress_line() as report:
            folder = prepare(report)
    except ModelError as error:
        print(getattr(error.__cause__, "output", ""), error, sep="\n", file=sys.stderr)
        return 1
    print(folder)
    return 0


if __name__ == "__main__":
    run_program(main)
