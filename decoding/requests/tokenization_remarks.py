"""Remarks about tokenization: whether the model can read a text's ids, and whether they decode to what was typed.

A tokenizer may have more tokens than its network has rows for, may normalize a text
(lower case, composed Hangul, one space for two), and may add tokens in front and behind. Knows ids and their text, and
no request.
"""

from collections.abc import Sequence
from typing import Literal

from decoding.engines import Engine
from decoding.errors import RequestError
from decoding.messages import Message
from decoding.record.tokens import join_tokens

_SHOWN = 120


def check_readable(model: Engine, token_ids: Sequence[int], *, field: Literal["prompt", "text"]) -> None:
    """Raises RequestError for an id for which the network has no embedding row. `field` says which input holds it."""
    wrong = next((n for n in token_ids if not 0 <= n < model.vocabulary_size), None)
    if wrong is not None:
        token, last = model.vocabulary.token(wrong).text[:40], model.vocabulary_size - 1
        row = field if token else "other"
        raise RequestError(
            Message(f"tokenizer.no_row.{row}", token=token, id=wrong, model=model.info.id, last=last), field=field
        )


def prompt_remarks(
    model: Engine, prompt: str, token_ids: Sequence[int], *, as_message: bool = False
) -> tuple[str, ...]:
    """Sentences about a prompt's ids; () if they are the prompt's tokens and nothing else, and for a message, around
    which the chat template puts tokens on purpose.
    """
    if not prompt or as_message:
        return ()
    vocabulary, found, name = model.vocabulary, [], model.info.id
    plain = vocabulary.encode(prompt, add_special_tokens=False)
    first = model.beginning_id
    if first is not None and [*token_ids[:2]] == [first, first] != plain[:2]:
        found.append(Message("tokenizer.begins_twice", token=vocabulary.token(first).text, model=name))
    if plain and token_ids[-1] != plain[-1]:
        found.append(Message("tokenizer.behind", token=vocabulary.token(token_ids[-1]).text, model=name))
    return (*found, *_changes(model, "prompt", prompt, join_tokens(vocabulary.tokens(plain))))


def text_remarks(model: Engine, text: str, before: Sequence[int], token_ids: Sequence[int]) -> tuple[str, ...]:
    """Sentences about the ids of a text that follows the ids `before`; () if they decode to the text."""
    return _changes(model, "text", text, model.vocabulary.text_after(before, token_ids))


def _changes(model: Engine, field: Literal["prompt", "text"], typed: str, read: str) -> tuple[str, ...]:
    if typed == read:
        return ()
    same = next((n for n, (a, b) in enumerate(zip(typed, read, strict=False)) if a != b), min(len(typed), len(read)))
    start = max(0, same - _SHOWN // 3)
    shown = ("… " if start else "") + read[start : start + _SHOWN] + (" …" if start + _SHOWN < len(read) else "")
    typed_count, read_count = f"{len(typed):,}", f"{len(read):,}"
    return (Message(f"tokenizer.changes.{field}", model=model.info.id, typed=typed_count, read=read_count, text=shown),)
