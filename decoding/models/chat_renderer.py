"""Renders a chat template, in a process of its own: `python chat_renderer.py`, a JSON object in, one out.

Owns the sandbox, whose names are those of transformers' `apply_chat_template`, and the limits that the process sets for
itself before it reads anything. A template is a program from a stranger's file: jinja2's sandbox keeps it from
everything but its own variables, and not from running for ever or filling the memory with one multiplication, which no
check of its text can foresee. Knows no model; `decoding.models.chat_template` runs it.
"""

import json
import sys
from contextlib import suppress
from datetime import datetime
from typing import Any

CPU_SECONDS = 2
"""Processor time, so that a busy machine refuses no more than an idle one. The largest real templates take 0.2 s."""
MEMORY_BYTES = 2**29


def limit_this_process() -> None:
    """Bound the process's own processor time and memory. Windows has no such limits: there only time is bounded, by
    whoever waits.
    """
    with suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


def render(asked: dict[str, Any]) -> dict[str, str]:
    """The text that a template makes of one message of the user, or why there is none."""
    from jinja2.exceptions import TemplateError

    messages = [{"role": "user", "content": asked["message"]}]
    variables = {"messages": messages, "tools": None, "documents": None, "add_generation_prompt": True}
    parts, size = [], 0
    try:
        template = _environment().from_string(asked["template"])
        for part in template.generate(**asked["special_tokens"] | variables):
            parts.append(part)
            if (size := size + len(part)) > asked["most"]:
                return {"failed": "long"}
    except MemoryError:
        return {"failed": "memory"}
    except TemplateError as error:  # its syntax, what the sandbox forbids, and what it says itself
        return {"failed": "error", "reason": str(error)}
    except Exception as error:  # whatever a template can do wrong with a value
        return {"failed": "error", "reason": f"{type(error).__name__}: {error}"}
    return {"text": "".join(parts)}


def _environment() -> Any:
    """jinja2's immutable sandbox with the extensions, filters and functions that chat templates expect."""
    from jinja2 import nodes
    from jinja2.exceptions import SecurityError, TemplateError
    from jinja2.ext import Extension
    from jinja2.sandbox import ImmutableSandboxedEnvironment
    from jinja2.utils import Namespace

    class Generation(Extension):
        """The block `{% generation %}`, which marks an assistant's answer for training: its content as it is."""

        tags = frozenset({"generation"})  # type: ignore[assignment]

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
            return nodes.Scope(body).set_lineno(line)

    class PlainNamespace(Namespace):
        """A namespace without names that begin with an underscore."""

        def __init__(self, *args: Any, **values: Any) -> None:
            given = dict(*args, **values)
            for name in given:
                PlainNamespace._check(name)
            super().__init__(given)

        def __setitem__(self, name: str, value: Any) -> None:
            PlainNamespace._check(name)
            super().__setitem__(name, value)

        @staticmethod
        def _check(name: str) -> None:
            if name.startswith("_"):
                raise SecurityError(name)

    class PlainDict:
        """The function `dict`, without the attributes of the type."""

        def __call__(self, *args: Any, **values: Any) -> dict[Any, Any]:
            return dict(*args, **values)

        def fromkeys(self, *args: Any) -> dict[Any, Any]:
            return dict.fromkeys(*args)

    def raise_exception(message: str) -> None:
        raise TemplateError(message)

    def to_json(value: Any, ensure_ascii: bool = False, **options: Any) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, **options)  # jinja2's own escapes markup

    made = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, "jinja2.ext.loopcontrols"]
    )
    made.filters["tojson"] = to_json
    made.globals |= {
        "raise_exception": raise_exception,
        "strftime_now": lambda form: datetime.now().strftime(form),
        "namespace": PlainNamespace,
        "dict": PlainDict(),
    }
    return made


if __name__ == "__main__":
    limit_this_process()
    answer = render(json.loads(sys.stdin.buffer.read()))
    sys.stdout.buffer.write(json.dumps(answer).encode())
