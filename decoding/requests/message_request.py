"""A prompt as a message to the assistant: the model's chat template makes the ids that the model reads.

Owns what is refused before and after the template, with the sentences. The template itself, its sandbox and its limits
are in `decoding.models.chat_template`. Knows an engine's vocabulary, and not how it decodes.
"""

from decoding.engines import Engine
from decoding.errors import ModelError, RequestError
from decoding.messages import Message
from decoding.record.prompt_text import tokens_hold
from decoding.requests.values import shown


def check_as_message(as_message: object) -> bool:
    """Whether a prompt is a message to the assistant; None is no. Raises RequestError for anything but a boolean."""
    if as_message is None or isinstance(as_message, bool):
        return bool(as_message)
    raise RequestError(
        Message("chat.boolean", value=shown(as_message)),
        field="prompt",
    )


def message_ids(model: Engine, message: str) -> list[int]:
    """The ids of the prompt that the chat template makes of a message: those of its text, with no special token but
    its own, as transformers' `apply_chat_template(…, add_generation_prompt=True)` reads it.

    Raises RequestError for a model without a template, ModelError for a template that makes no prompt of the message.
    """
    template = model.vocabulary.message_template
    if template is None:
        raise RequestError(Message("chat.none", model=model.info.id), field="prompt")
    ids = model.vocabulary.encode(template.render(message), add_special_tokens=False)
    if not ids or not tokens_hold(message, model.vocabulary.tokens(ids)):
        raise ModelError(Message("chat.left_out", model=model.info.id))
    return ids
