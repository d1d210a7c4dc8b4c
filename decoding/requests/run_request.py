"""Requests: what a person asked for, checked first without a model and then against one.

Owns the checks and the sentences that refuse; the limits are in `decoding.limits`. Knows an engine's limits, and not
how it decodes. Library, terminal, page and HTTP all use these checks, so they refuse alike. Every `check_*` function
raises RequestError, whose `field` names the input, and whose sentence names the value and the limit.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from decoding.engines import Engine
from decoding.errors import Field, RequestError
from decoding.limits import (
    MAX_BEAMS,
    MAX_CHOICES,
    MAX_PROMPT_CHARACTERS,
    MAX_STEPS,
    MAX_TEXT_TOKENS,
    MIN_BEAMS,
)
from decoding.messages import Message
from decoding.record.pick_rule import Sampling
from decoding.record.tokens import visible
from decoding.requests.message_request import check_as_message, message_ids
from decoding.requests.sampling_request import check_past_end, check_sampling
from decoding.requests.tokenization_remarks import check_readable
from decoding.requests.values import is_whole, json_type_of, shown, shown_id


@dataclass(frozen=True, slots=True)
class Request:
    """A request for a run, checked as far as possible without a model."""

    prompt: str
    max_new_tokens: int
    top_k: int
    forced: tuple[tuple[int, int], ...] = ()
    """(step, token id) of each forced pick, in ascending order of steps, which count from 0."""
    past_end: bool = False
    """Whether the run goes on past the end of the text."""
    sampling: Sampling | None = None
    """How tokens are drawn; None: argmax picks."""
    as_message: bool = False
    """Whether the prompt is a message to the assistant, of which the model's chat template makes what is read."""


def check_request(
    prompt: object,
    max_new_tokens: object,
    top_k: object,
    forced: object = (),
    *,
    past_end: object = False,
    sampling: object = None,
    as_message: object = False,
) -> Request:
    """The request for a run of `max_new_tokens` steps (1 to 256) with `top_k` candidates each (1 to 50).

    `forced` are pairs of a step and a token id, as tuples or lists. `past_end` lets the run go on past the end of the
    text; `sampling` is a Sampling, or an object with its fields; `as_message` makes the prompt by the model's chat
    template. Raises RequestError for a value that is invalid.
    """
    prompt = check_prompt(prompt)
    steps = whole_number(max_new_tokens, "steps", MAX_STEPS)
    picks = check_forced(forced, steps)
    drawn = check_sampling(sampling, steps)
    return Request(
        prompt, steps, check_choices(top_k), picks, check_past_end(past_end), drawn, check_as_message(as_message)
    )


def check_beams(num_beams: object) -> int:
    """The number of beams, 2 to 8. Raises RequestError for anything else."""
    return whole_number(num_beams, "beams", MAX_BEAMS, MIN_BEAMS)


def check_choices(top_k: object) -> int:
    """The number of candidates per step, 1 to 50. Raises RequestError for anything else."""
    return whole_number(top_k, "choices", MAX_CHOICES)


def check_prompt(prompt: object) -> str:
    """The prompt, at most 50,000 characters. Raises RequestError for anything else, for NUL and for lone surrogates."""
    return _text(prompt, Message("request.word.prompt"), "prompt")


def check_continuation(text: object) -> str:
    """The text of a continuation to score, at most 50,000 characters. Raises RequestError if it is empty or no text."""
    if text == "":
        raise RequestError(Message("text.empty"), field="text")
    return _text(text, Message("request.word.pasted"), "text")


def check_forced(forced: object, max_new_tokens: int) -> tuple[tuple[int, int], ...]:
    """The forced picks as pairs (step, token id). Raises RequestError for anything but pairs, for a step outside
    0 to `max_new_tokens` − 1, for a negative id, and for steps that are not in ascending order.
    """
    if not isinstance(forced, list | tuple):
        raise _forced_error(Message("pick.list", type=json_type_of(forced)))
    picks: list[tuple[int, int]] = []
    for number, pair in enumerate(forced, start=1):
        whole = [is_whole(x) for x in pair] if isinstance(pair, list | tuple) else []
        if whole != [True, True]:
            raise _forced_error(Message("pick.pair", number=number))
        step, token_id = int(pair[0]), int(pair[1])
        if step not in range(max_new_tokens):
            raise _forced_error(Message("pick.step", number=number, step=shown(step + 1), last=max_new_tokens))
        if token_id < 0:
            raise _forced_error(Message("pick.negative", number=number, id=shown_id(token_id)))
        if picks and step <= picks[-1][0]:
            raise _forced_error(Message("pick.order", number=number, step=step + 1, before=picks[-1][0] + 1))
        picks.append((step, token_id))
    return tuple(picks)


def check_forced_ids(model: Engine, forced: Sequence[tuple[int, int]]) -> None:
    """Raises RequestError for a forced id outside the model's vocabulary."""
    for step, token_id in forced:
        if token_id >= model.vocabulary_size:
            raise _forced_error(
                Message(
                    "pick.unknown",
                    id=shown_id(token_id),
                    step=step + 1,
                    model=model.info.id,
                    last=model.vocabulary_size - 1,
                )
            )


def check_top_k(model: Engine, top_k: int) -> None:
    """Raises RequestError for more candidates than the engine can return."""
    most = model.max_top_k
    if most is not None and top_k > most:
        raise RequestError(
            Message("engine.most", model=model.info.id, most=most, value=top_k),
            field="choices",
        )


def check_can_draw(model: Engine, sampling: Sampling | None) -> None:
    """Raises RequestError for a draw from an engine that gives only its top candidates."""
    if sampling is not None and model.max_top_k is not None:
        raise RequestError(Message("draw.engine", model=model.info.id), field="sampling")


def prompt_ids(model: Engine, prompt: str, *, as_message: bool = False) -> list[int]:
    """The ids of a prompt; for an empty one, the model's beginning-of-text id. As a message to the assistant, those of
    what the chat template makes of it.

    Raises RequestError for an empty prompt if the model has no such id, and for an id that the model cannot read; and
    what `message_ids` raises.
    """
    ids = message_ids(model, prompt) if as_message else model.vocabulary.encode(prompt)
    if not ids and model.beginning_id is None:
        raise RequestError(
            Message("prompt.empty", model=model.info.id),
            field="prompt",
        )
    ids = ids or [model.beginning_id or 0]
    check_readable(model, ids, field="prompt")
    return ids


def continuation_ids(model: Engine, start: Sequence[int], text: str, *, prompt: str = "") -> list[int]:
    """The ids of a text that continues the ids `start` of `prompt`.

    Raises RequestError if it has no tokens, more than 1,000, or more than the context has room for, and for an id that
    the model cannot read.
    """
    ids = model.vocabulary.encode_continuation(text, start, prompt)
    if not ids:
        raise RequestError(Message("text.no_tokens", text=visible(text[:40])), field="text")
    context = model.context_length
    room = MAX_TEXT_TOKENS if context is None else min(MAX_TEXT_TOKENS, context - len(start))
    if len(ids) > room:
        why = (
            Message("text.long.read")
            if room == MAX_TEXT_TOKENS
            else Message("text.long.room", count=f"{len(start):,}", model=model.info.id)
        )
        raise RequestError(Message("text.long", count=f"{len(ids):,}", most=f"{max(0, room):,}", why=why), field="text")
    check_readable(model, ids, field="text")
    return ids


def start_ids(model: Engine, request: Request) -> list[int]:
    """The ids of the request's prompt. Raises RequestError if the context has no room for them and the steps asked
    for.
    """
    ids = prompt_ids(model, request.prompt, as_message=request.as_message)
    context = model.context_length
    if context is not None and len(ids) + request.max_new_tokens > context:
        raise RequestError(
            Message(
                "prompt.long",
                count=f"{len(ids):,}",
                steps=request.max_new_tokens,
                model=model.info.id,
                room=f"{max(0, context - request.max_new_tokens):,}",
                context=f"{context:,}",
            ),
            field="prompt",
        )
    return ids


def _text(text: object, name: str, field: Field) -> str:
    if not isinstance(text, str):
        raise RequestError(Message("request.type", name=name, type=json_type_of(text)), field=field)
    if len(text) > MAX_PROMPT_CHARACTERS:
        raise RequestError(
            Message("request.long", name=name, count=f"{len(text):,}", most=f"{MAX_PROMPT_CHARACTERS:,}"),
            field=field,
        )
    for position, character in enumerate(text, start=1):
        if character == "\0" or "\ud800" <= character <= "\udfff":
            what = Message("request.character.nul") if character == "\0" else Message("request.character.half")
            raise RequestError(
                Message(
                    "request.character", position=f"{position:,}", name=name, what=what, code=f"{ord(character):04X}"
                ),
                field=field,
            )
    return text


def whole_number(value: object, field: Field, most: int, least: int = 1, *, name: str = "") -> int:
    """A whole number from `least` to `most`. Raises RequestError for anything else, and calls it `name`."""
    name = name or Message(f"request.word.{field}")
    if is_whole(value) and value in range(least, most + 1):
        return int(value)
    if value is None or value == "":
        raise RequestError(Message("request.empty", field=name, least=least, most=most), field=field)
    raise RequestError(
        Message("request.number", field=name, least=least, most=most, value=shown(value)),
        field=field,
    )


def _forced_error(message: str) -> RequestError:
    return RequestError(message, field="forced")
