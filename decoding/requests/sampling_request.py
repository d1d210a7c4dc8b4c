"""How a person asks for picks other than argmax's: the checks of a draw, and of going on past the end of the text.

Owns these checks and their sentences; the limits are in `decoding.limits`. Knows no model. Each raises RequestError,
whose sentence names the value and the limit.
"""

from collections.abc import Mapping
from dataclasses import asdict, fields

from decoding.errors import RequestError
from decoding.limits import MAX_DRAWS, MAX_SEED, MAX_TEMPERATURE, MAX_VOCABULARY, MIN_DRAWS, MIN_TEMPERATURE
from decoding.messages import Message
from decoding.record.pick_rule import Sampling
from decoding.requests.values import is_real, is_whole, json_type_of, shown


def check_past_end(past_end: object) -> bool:
    """Whether a run goes on past the end of the text; None is no. Raises RequestError for anything but a boolean."""
    if past_end is None or isinstance(past_end, bool):
        return bool(past_end)
    raise RequestError(Message("draw.past_end", value=shown(past_end)), field="sampling")


def check_sampling(sampling: object, max_new_tokens: int) -> Sampling | None:
    """How tokens are drawn, from a Sampling or an object with some of its fields; None for None.

    Raises RequestError for a number outside its limits.
    """
    if sampling is None:
        return None
    names = {field.name: field.default for field in fields(Sampling)}
    given = asdict(sampling) if isinstance(sampling, Sampling) else sampling
    if not isinstance(given, dict):
        raise _sampling_error(Message("draw.object", type=json_type_of(given)))
    for name in given:
        if name not in names:
            raise _sampling_error(Message("draw.field", name=shown(name), names=", ".join(names)))
    asked = names | given
    return Sampling(
        temperature=_number_within(asked, "temperature", MIN_TEMPERATURE, MAX_TEMPERATURE),
        top_k=_whole_within(asked, "top_k", MAX_VOCABULARY),
        top_p=_number_within(asked, "top_p", 0, 1),
        seed=_whole_within(asked, "seed", MAX_SEED),
        first=_whole_within(asked, "first", max_new_tokens - 1),
    )


def check_draws(count: object, sampling: Sampling) -> int:
    """The number of draws, 2 to 20, whose seeds follow each other. Raises RequestError for anything else."""
    if not is_whole(count) or not MIN_DRAWS <= count <= MAX_DRAWS:
        name = Message("request.word.draws")
        raise _sampling_error(
            Message("request.number", field=name, least=MIN_DRAWS, most=MAX_DRAWS, value=shown(count))
        )
    if sampling.seed + int(count) - 1 > MAX_SEED:
        raise _sampling_error(Message("draw.seeds", count=int(count), most=f"{MAX_SEED:,}"))
    return int(count)


def _number_within(asked: Mapping[str, object], field: str, least: float, most: float) -> float:
    value, name = asked[field], Message(f"draw.word.{field}")
    if is_real(value) and least <= value <= most:  # false for NaN
        return float(value)
    raise _sampling_error(Message("draw.number", name=name, least=f"{least:g}", most=f"{most:g}", value=shown(value)))


def _whole_within(asked: Mapping[str, object], field: str, most: int) -> int:
    value, name = asked[field], Message(f"draw.word.{field}")
    if is_whole(value) and 0 <= value <= most:
        return int(value)
    raise _sampling_error(Message("draw.whole", name=name, most=f"{most:,}", value=shown(value)))


def _sampling_error(message: str) -> RequestError:
    return RequestError(message, field="sampling")
