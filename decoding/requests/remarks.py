"""Remarks about tokenization: whether the model can read a text's ids, and whether they decode to what was typed.

Owns the sentences about both. A tokenizer may have more tokens than its network has rows for, may normalize a text
(lower case, composed Hangul, one space for two), and may add tokens in front and behind. Knows ids and their text, and
no request.
"""

from collections.abc import Sequence
from typing import Literal

from decoding.engines import Engine
from decoding.errors import RequestError
from decoding.record.tokens import join_tokens

_SHOWN = 120

NO_ROW = {
    "prompt": 'The prompt holds the token "{token}" with the id {id}, which {model} cannot read: it has the ids 0 '
    "to {last}. Leave that token out.",
    "text": 'The pasted text holds the token "{token}" with the id {id}, which {model} cannot read: it has the ids 0 '
    "to {last}. Leave that token out.",
}
NO_ROW_OF_ITS_OWN = (
    "The tokenizer of {model} makes the id {id} of what was typed, which {model} cannot read: it has the ids 0 to "
    "{last}. Choose another model."
)
TWICE = (
    'The prompt begins with "{token}" twice: the tokenizer of {model} puts one in front of every prompt. Leave out the '
    "typed one."
)
BEHIND = (
    'The tokenizer of {model} puts "{token}" after every prompt, so the model writes what comes after that token, not '
    "what comes right after the prompt."
)
CHANGES = {
    "prompt": "The tokenizer of {model} changes the prompt before the model reads it: it turns {typed} characters "
    'into {read}, "{text}".',
    "text": "The tokenizer of {model} changes the pasted text before the model reads it: it turns {typed} characters "
    'into {read}, "{text}".',
}


def check_readable(model: Engine, token_ids: Sequence[int], *, field: Literal["prompt", "text"]) -> None:
    """Raises RequestError for an id for which the network has no embedding row. `field` says which input holds it."""
    wrong = next((n for n in token_ids if not 0 <= n < model.vocabulary_size), None)
    if wrong is not None:
        token, last = model.vocabulary.token(wrong).text[:40], model.vocabulary_size - 1
        said = NO_ROW[field] if token else NO_ROW_OF_ITS_OWN
        raise RequestError(said.format(token=token, id=wrong, model=model.info.id, last=last), field=field)


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
        found.append(TWICE.format(token=vocabulary.token(first).text, model=name))
    if plain and token_ids[-1] != plain[-1]:
        found.append(BEHIND.format(token=vocabulary.token(token_ids[-1]).text, model=name))
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
    said = CHANGES[field].format(model=model.info.id, typed=f"{len(typed):,}", read=f"{len(read):,}", text=shown)
    return (said,)
