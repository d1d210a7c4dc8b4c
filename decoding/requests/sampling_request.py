"""How a person asks for picks other than argmax's: the checks of a draw, and of going on past the end of the text.

Owns these checks and their sentences; the limits are in `decoding.limits`. Knows no model. Each raises RequestError,
whose sentence names the value and the limit.
"""

from dataclasses import asdict, fields

from decoding.errors import RequestError
from decoding.limits import MAX_DRAWS, MAX_SEED, MAX_TEMPERATURE, MAX_VOCABULARY, MIN_DRAWS, MIN_TEMPERATURE
from decoding.record.picking import Sampling
from decoding.requests.values import is_whole, json_type_of, shown


def check_past_end(past_end: object) -> bool:
    """Whether a run goes on past the end of the text; None is no. Raises RequestError for anything but a boolean."""
    if past_end is None or isinstance(past_end, bool):
        return bool(past_end)
    raise RequestError(
        f"Whether to go on past the end of the text has to be true or false, not {shown(past_end)}.", field="sampling"
    )


def check_sampling(sampling: object, max_new_tokens: int) -> Sampling | None:
    """How tokens are drawn, from a Sampling or an object with some of its fields; None for None.

    Raises RequestError for a number outside its limits.
    """
    if sampling is None:
        return None
    names = {field.name: field.default for field in fields(Sampling)}
    said = asdict(sampling) if isinstance(sampling, Sampling) else sampling
    if not isinstance(said, dict):
        raise _sampling_error(f"How to draw has to be an object, not {json_type_of(said)}.")
    for name in said:
        if name not in names:
            raise _sampling_error(f"How to draw has no {shown(name)}; it has {', '.join(names)}.")
    asked = names | said
    return Sampling(
        temperature=_number_within(asked["temperature"], "temperature", MIN_TEMPERATURE, MAX_TEMPERATURE),
        top_k=_whole_within(asked["top_k"], "top-k", MAX_VOCABULARY),
        top_p=_number_within(asked["top_p"], "top-p", 0, 1),
        seed=_whole_within(asked["seed"], "seed", MAX_SEED),
        first=_whole_within(asked["first"], "first step to draw", max_new_tokens - 1),
    )


def check_draws(count: object, sampling: Sampling) -> int:
    """The number of draws, 2 to 20, whose seeds follow each other. Raises RequestError for anything else."""
    if not is_whole(count) or not MIN_DRAWS <= count <= MAX_DRAWS:
        name = "draws"
        raise _sampling_error(
            f"The number of {name} has to be a whole number from {MIN_DRAWS} to {MAX_DRAWS}, not {shown(count)}."
        )
    if sampling.seed + int(count) - 1 > MAX_SEED:
        raise _sampling_error(f"{int(count)} draws take as many seeds, and the last one would be above {MAX_SEED}.")
    return int(count)


def _number_within(value: object, name: str, least: float, most: float) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most:  # false for NaN
        return float(value)
    raise _sampling_error(f"The {name} has to be a number from {least:g} to {most:g}, not {shown(value)}.")


def _whole_within(value: object, name: str, most: int) -> int:
    if is_whole(value) and 0 <= value <= most:
        return int(value)
    raise _sampling_error(f"The {name} has to be a whole number from 0 to {most}, not {shown(value)}.")


def _sampling_error(message: str) -> RequestError:
    return RequestError(message, field="sampling")
