"""Chat templates: how a model's own files turn a message into a prompt.

Owns where a template is found, and the bounds of its size, its time and what it makes. It is rendered in a child
process (`decoding.models.chat_renderer`): a child is stopped whatever it does, in a loop or in one multiplication, and
takes its memory with it. A start costs 0.1 s, so what was made is remembered. Every fault is a ModelError.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from decoding.errors import ModelError
from decoding.limits import MAX_PROMPT_CHARACTERS
from decoding.messages import Message
from decoding.models import chat_renderer

TEMPLATE_FILE, CONFIG = "chat_template.jinja", "tokenizer_config.json"
MAX_TEMPLATE_CHARACTERS = 200_000
"""Ten times the largest known ones."""
_SECONDS = 30.0  # of the clock, on a machine whose processors are busy; the child's own limit is processor time
_REASON_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """A template, and the special tokens that it may name, such as ("bos_token", "<s>")."""

    template: str
    special_tokens: tuple[tuple[str, str], ...] = ()

    def render(self, message: str) -> str:
        """The prompt that a message of the user makes, up to where the assistant's answer begins. Raises ModelError
        where the template does not make one within its limits.
        """
        return _render(self, message)


def read_chat_template(folder: Path, names: Mapping[str, Any]) -> ChatTemplate | None:
    """The template of a folder whose tokenizer_config.json holds `names`: a file of its own, or else a field there."""
    try:
        found: Any = (folder / TEMPLATE_FILE).read_text("utf-8")
    except (OSError, ValueError):  # no such file, or a name or text that is no UTF-8
        found = names.get("chat_template")
    return make_chat_template(found, {name: token for name, token in names.items() if name.endswith("_token")})


def make_chat_template(found: Any, special_tokens: Mapping[str, Any]) -> ChatTemplate | None:
    """A template as files have it: a text, or several with names, of which the default one answers a message."""
    if isinstance(found, list):
        found = {each.get("name"): each.get("template") for each in found if isinstance(each, dict)}
    if isinstance(found, dict):
        found = found.get("default")
    if not isinstance(found, str) or not found:
        return None
    texts = {name: token.get("content") if isinstance(token, dict) else token for name, token in special_tokens.items()}
    return ChatTemplate(found, tuple((name, text) for name, text in texts.items() if isinstance(text, str)))


@lru_cache(maxsize=64)
def _render(chat: ChatTemplate, message: str) -> str:
    if (count := len(chat.template)) > MAX_TEMPLATE_CHARACTERS:
        raise ModelError(Message("chat.large", count=f"{count:,}", most=f"{MAX_TEMPLATE_CHARACTERS:,}"))
    asked = {"template": chat.template, "message": message, "special_tokens": dict(chat.special_tokens)}
    answer = _run_child(json.dumps(asked | {"most": MAX_PROMPT_CHARACTERS}).encode())
    match answer.get("failed"):
        case None:
            return answer["text"]
        case "long":
            raise ModelError(Message("chat.long", most=f"{MAX_PROMPT_CHARACTERS:,}"))
        case "memory":
            raise ModelError(Message("chat.memory", most=chat_renderer.MEMORY_BYTES // 2**20))
    reason = " ".join(answer.get("reason", "").split()).rstrip(".")[:_REASON_CHARACTERS]
    raise ModelError(Message("chat.failed", quote=reason or "it failed"))


def _run_child(asked: bytes) -> dict[str, str]:
    """The renderer's answer. Raises ModelError for a child that was stopped or broke."""
    command = [sys.executable, "-P", chat_renderer.__file__]  # -P: the files beside it are none of its modules
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(command, input=asked, capture_output=True, env=environment, timeout=_SECONDS)
        answer = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        raise ModelError(Message("chat.slow", seconds=chat_renderer.CPU_SECONDS)) from None
    except ValueError:  # it ended without an answer
        if done.returncode < 0:  # by a signal: that of its processor time
            raise ModelError(Message("chat.slow", seconds=chat_renderer.CPU_SECONDS)) from None
        reason = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        if "MemoryError" in reason:
            raise ModelError(Message("chat.memory", most=chat_renderer.MEMORY_BYTES // 2**20)) from None
        raise ModelError(Message("chat.failed", quote=reason[:_REASON_CHARACTERS] or "it failed")) from None
    return dict(answer)
