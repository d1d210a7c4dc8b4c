"""Messages: what people are told, as a code with parameters, so that each reader gets it in a language of their own.

Owns how a code becomes its English sentence, and how a message is written as JSON for the page, which makes the
sentence of the reader's language from it (assets/panel/core/server_messages.js). The sentences stand in assets/texts/,
under "server." and the code. Does not know which module sends a message.
"""

import errno
from collections.abc import Callable

from decoding.i18n import translate

MessageJson = str | dict[str, "MessageJson"]
"""A text that has no code, or a message: its "code", as "parameters" what fills the places of its sentence, and as
"text" the sentence in English, for a reader that does not know the code.
"""


class Message(str):
    """An English sentence that remembers its code and its parameters, each of which may be a message too.

    It is a `str`, so a caller of the library, a terminal and a file get the sentence. Raises KeyError for a code that
    has no text, and for a place of the text that no parameter fills.

    >>> wait = Message("facts.context", count="2,048")
    >>> print(wait, wait.code, wait.parameters)
    context 2,048 facts.context {'count': '2,048'}
    """

    __slots__ = ("code", "parameters")
    code: str
    parameters: dict[str, str]

    def __new__(cls, code: str, /, **parameters: object) -> "Message":
        filled = {name: value if isinstance(value, str) else str(value) for name, value in parameters.items()}
        message = super().__new__(cls, translate(f"server.{code}", **filled))
        message.code = code
        message.parameters = filled
        return message

    def __reduce__(self) -> tuple[Callable[..., "Message"], tuple[str, dict[str, str]]]:
        return _restored, (self.code, self.parameters)


def _restored(code: str, parameters: dict[str, str]) -> Message:
    return Message(code, **parameters)


def to_json(text: str) -> MessageJson:
    """A message as its code, its parameters and its English sentence; any other text as it is."""
    if not isinstance(text, Message):
        return text
    parameters: MessageJson = {name: to_json(value) for name, value in text.parameters.items()}
    return {"code": text.code, "parameters": parameters, "text": str(text)}


def from_json(value: MessageJson) -> str:
    """What `to_json` wrote, as another process of ours reads it."""
    if isinstance(value, str):
        return value
    code, parameters = value["code"], value["parameters"]
    assert isinstance(code, str)
    assert isinstance(parameters, dict)
    return Message(code, **{name: from_json(value) for name, value in parameters.items()})


def message_of(error: BaseException) -> str:
    """What an error says: its message, if it has one, which `str(error)` would turn into a plain text."""
    return error.args[0] if error.args and isinstance(error.args[0], Message) else str(error)


def reason_of(error: OSError) -> str:
    """Why the operating system refuses: a message where a reader is likely to meet it, else the system's words."""
    codes = {errno.EACCES: "others.denied", errno.EROFS: "others.read_only"}
    if error.errno in codes:
        return Message(codes[error.errno])
    return error.strerror or type(error).__name__


def mapped(change: Callable[[str], str], text: str) -> str:
    """A text after `change`; a message keeps its code, and its parameters are changed."""
    if not isinstance(text, Message):
        return change(text)
    return Message(text.code, **{name: mapped(change, value) for name, value in text.parameters.items()})
