"""The options of a run in the terminal: prompt, steps, choices, and how tokens are picked.

Owns these options and the request that they make. Knows no model; `decoding.requests.run_request` checks the values.
"""

import argparse
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from decoding.errors import RequestError
from decoding.limits import MAX_SEED, MAX_TEMPERATURE, MIN_TEMPERATURE
from decoding.requests.run_request import Request, check_request


def add_picking_options(parser: argparse.ArgumentParser) -> None:
    """Add the options about picks other than plain argmax."""
    parser.add_argument(
        "--past-end", action="store_true", help="go on past the end of the text: the next candidate is taken there"
    )
    parser.add_argument(
        "--as-message", action="store_true", help="send the prompt as a message to the assistant, by its chat template"
    )
    draw = parser.add_argument_group("draw tokens, if any of these is given")
    for name, number, text in (
        ("--temperature", float, f"the logits are divided by it, {MIN_TEMPERATURE:g} to {MAX_TEMPERATURE:g} (1)"),
        ("--top-k", int, "only so many of the most probable tokens stay (0: all)"),
        ("--top-p", float, "of these, only the fewest that sum to it stay, 0 to 1 (1)"),
        ("--seed", int, f"the same seed gives the same text, 0 to {MAX_SEED} (0)"),
    ):
        draw.add_argument(name, type=partial(_number, number=number), help=text)


def requested(options: argparse.Namespace) -> Request:
    """The request of the options. Raises RequestError for a value that cannot be used."""
    if unread := next((letter for letter in options.prompt if "\udc80" <= letter <= "\udcff"), ""):  # see PEP 383
        raise RequestError(
            f"The prompt holds the byte 0x{ord(unread) - 0xDC00:X}, which is no text in {sys.getfilesystemencoding()}.",
            field="prompt",
        )
    steps, choices = _number(options.steps), _number(options.choices)
    given = {name: getattr(options, name) for name in ("temperature", "top_k", "top_p", "seed")}
    sampling = {name: value for name, value in given.items() if value is not None} or None
    how: Any = {"past_end": options.past_end, "sampling": sampling, "as_message": options.as_message}
    return check_request(options.prompt, steps, choices, **how)


def _number(text: str, number: Callable[[str], object] = int) -> object:
    """A number as typed. Anything else is returned as it is, for `check_request` to refuse."""
    try:
        return number(text)
    except ValueError:
        return text
