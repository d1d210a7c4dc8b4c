"""Messages: each code in the source has its text and fills its places, each text is said, and a message stays one
through pickling, JSON and a change of its parameters.
"""

import ast
import errno
import json
import pickle
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from decoding import assets
from decoding.errors import ModelError, RequestError
from decoding.messages import Message, from_json, mapped, message_of, reason_of, to_json

ROOT = Path(__file__).resolve().parents[1]
SOURCES = [*(ROOT / "decoding").rglob("*.py"), ROOT / "app.py", ROOT / "tests" / "refresh.py"]
TEXTS = {key.removeprefix("server."): text for key, text in assets.texts()["en"].items() if key.startswith("server.")}
WORDS_OF_RECORDS = ("stored.", "draw.word.top_", "others.")
"""Codes that no call names: how a GGUF file's weights are stored, and what `reason_of` chooses."""


def codes_of(node: ast.expr) -> set[str]:
    """The codes that the first argument of a call can be: one, or each that begins as an f-string does."""
    if isinstance(node, ast.Constant):
        return {node.value}
    assert isinstance(node, ast.JoinedStr), ast.unparse(node)
    start = node.values[0]
    assert isinstance(start, ast.Constant), ast.unparse(node)
    return {code for code in TEXTS if code.startswith(start.value) and "." not in code[len(start.value) :]}


def messages_in(path: Path) -> Iterator[tuple[set[str], set[str], bool]]:
    """Of each message that a file makes: its possible codes, the places it fills, and whether it fills them all."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        names = [getattr(each, "id", "") for each in (node.func, *node.args)] if isinstance(node, ast.Call) else []
        for place, called in enumerate(["Message", "partial"]):
            if names[:1] == [called] and (place == 0 or names[1:2] == ["Message"]):
                assert isinstance(node, ast.Call)
                yield codes_of(node.args[place]), {keyword.arg or "**" for keyword in node.keywords}, place == 0


MADE = {path: [*messages_in(path)] for path in SOURCES if path.name != "messages.py"}


def test_each_message_has_a_text_and_fills_its_places() -> None:
    assert sum(map(len, MADE.values())) > 300
    for path, messages in MADE.items():
        for codes, filled, is_whole in messages:
            assert codes, path
            assert codes <= TEXTS.keys(), path
            for code in codes:
                places = set(re.findall(r"\{(\w+)\}", TEXTS[code]))
                fits = filled == places if len(codes) == 1 else places <= filled
                assert fits or (not is_whole and filled < places), (path.name, code)


def test_each_text_is_said() -> None:
    said = {code for messages in MADE.values() for codes, _, _ in messages for code in codes}
    scripts = " ".join(path.read_text("utf-8") for path in (ROOT / "assets").rglob("*.js"))
    said |= {code for code in TEXTS if f'"server.{code}"' in scripts or f'"code": "{code}"' in scripts}
    assert {code for code in TEXTS.keys() - said if not code.startswith(WORDS_OF_RECORDS)} == set()


def test_a_message_is_its_english_sentence() -> None:
    inner = Message("request.word.prompt")
    message = Message("request.type", name=inner, type="a number")
    assert message == "The prompt has to be text, not a number."
    assert message.parameters["name"] is inner
    assert str(RequestError(message, field="prompt")) == message
    assert RequestError(message).message.code == "request.type"  # type: ignore[attr-defined]


def test_a_code_or_a_place_that_is_not_there() -> None:
    for code in ("no.such.code", "request.type"):
        with pytest.raises(KeyError):
            Message(code)


def test_a_message_stays_one() -> None:
    message = Message("fetch.quiet", word=Message("fetch.progress", model="/a/b", done=1, total=2), seconds=3)
    for again in (pickle.loads(pickle.dumps(message)), from_json(json.loads(json.dumps(to_json(message))))):
        assert again == message
        assert again.parameters["word"].code == "fetch.progress"
    assert message_of(pickle.loads(pickle.dumps(ModelError(message)))).code == "fetch.quiet"  # type: ignore[attr-defined]
    changed = mapped(lambda text: text.replace("/a/", ""), message)
    assert changed == "Fetching b: 1 of 2 MB; nothing has arrived for 3 seconds"
    assert isinstance(changed, Message)
    assert (to_json("a plain text"), from_json("a plain text")) == ("a plain text", "a plain text")
    assert to_json(Message("request.word.prompt")) == {
        "code": "request.word.prompt",
        "parameters": {},
        "text": "prompt",
    }


def test_a_reason_of_the_operating_system() -> None:
    assert to_json(reason_of(PermissionError(errno.EACCES, "Permission denied"))) != "Permission denied"
    assert reason_of(OSError(errno.EIO, "Input/output error")) == "Input/output error"
    assert reason_of(OSError()) == "OSError"


@pytest.mark.parametrize("language", ["en", "ko"])
def test_a_reason_can_be_joined_to_others(language: str) -> None:
    """A run's record joins its reasons by "; ", and the page parts them there to say each in the reader's language."""
    texts = assets.texts()[language]
    reasons = [key for key in texts if key.startswith(("server.why.", "server.browser.", "server.engine.why_unknown"))]
    assert len(reasons) > 20
    assert [key for key in reasons if "; " in texts[key] and not texts[key].endswith(".")] == []
