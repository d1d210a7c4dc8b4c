"""`python -m decoding.site FOLDER`: writes the static site. `decoding.site.build` does it."""

import sys
from collections.abc import Sequence
from pathlib import Path

from decoding.command_line.options import Parser
from decoding.command_line.program import run_program
from decoding.errors import GreedyscopeError
from decoding.messages import reason_of
from decoding.models.catalogue import format_bytes
from decoding.site.build import build_site


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0, or 2 where the site could not be written, with the sentence on standard error."""
    parser = Parser("python -m decoding.site", "Write a static site in which the visitor's own browser computes.")
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="where to write it; a site that is there goes")
    parser.add_argument("--model", default="starter", help="a GGUF file, or a model of the catalogue (starter)")
    options = parser.parse_args(arguments)
    try:
        written = build_site(options.folder, model=options.model, report=lambda word, _: print(word, file=sys.stderr))
    except GreedyscopeError as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        print(f"{options.folder} cannot be written: {reason_of(error)}. Choose another folder.", file=sys.stderr)
        return 2
    print(f"{options.folder} is a site of {format_bytes(written)}: python -m http.server -d {options.folder}")
    return 0


if __name__ == "__main__":
    run_program(main)
