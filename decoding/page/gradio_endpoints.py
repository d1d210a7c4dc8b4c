"""Adapts endpoints to Gradio: admission, connection checks, error messages and descriptions.

Owns what all endpoints have in common, and how Gradio's own view of the API describes them. Knows no model and no run.
"""

import functools
import inspect
import logging
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping
from contextlib import aclosing
from functools import partial
from typing import Any

import gradio as gr
from gradio.events import api as gr_api
from gradio.utils import get_function_description

from decoding.errors import GreedyscopeError
from decoding.messages import Message
from decoding.models.resources import is_out_of_memory
from decoding.page.gradio_compat.liveness import listener_of
from decoding.page.http.metrics import Health

PROMPT, STEPS, CHOICES = "Transformers are the", 8, 5
"""The defaults of an endpoint's parameters: the classroom notebook's run."""
VISITOR = "visitor"
"""The parameter that Gradio fills in, not the caller."""

Endpoint = Callable[..., Iterator[str]]


def named_parts(updates: Iterator[Mapping[str, str]], name: str = "panel") -> Iterator[str]:
    """The parts of this name of an action's updates; its progress is for people, and is left out."""
    return (update[name] for update in updates if name in update)


def admitted(
    page: gr.Blocks, health: Health, endpoint: Endpoint, *, is_long: bool
) -> Callable[..., AsyncIterator[str]]:
    """An endpoint for Gradio: it waits for admission, ends when the caller has left, and raises gr.Error with a message
    for the caller.
    """

    @functools.wraps(endpoint)
    async def answer(visitor: gr.Request, *values: Any) -> AsyncIterator[str]:
        def work() -> Generator[str, None, None]:
            yield from endpoint(*values)

        text = ""  # also sent while the run waits for admission
        who: Any = listener_of(page, visitor) | {"is_long": is_long}
        try:
            async with aclosing(health.stream(work, notice=lambda _: text, heartbeat=lambda: text, **who)) as updates:
                async for text in updates:
                    yield text
        except Exception as error:
            raise _to_gradio_error(error) from error

    # Gradio reads the parameters from the signature, and fills in the visitor itself.
    visitor = inspect.Parameter(VISITOR, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=gr.Request)
    signature = inspect.signature(endpoint)
    signature = signature.replace(parameters=[visitor, *signature.parameters.values()], return_annotation=str)
    answer.__signature__ = signature  # type: ignore[attr-defined]
    answer.__annotations__ = endpoint.__annotations__ | {VISITOR: gr.Request}
    return answer


def with_error_messages(endpoint: Callable[..., str]) -> Callable[..., str]:
    """An endpoint that raises gr.Error with a message for the caller."""

    @functools.wraps(endpoint)
    def answer(*values: Any) -> str:
        try:
            return endpoint(*values)
        except Exception as error:
            raise _to_gradio_error(error) from error

    return answer


def add_endpoint(page: gr.Blocks, endpoint: Callable[..., Any], examples: Mapping[str, str], **limits: Any) -> None:
    """Register an endpoint of the open page under its name, with the descriptions of its docstring.

    `examples` are for parameters without a default. Gradio puts a text between quotes without escaping it, so an
    example must be valid between quotes.
    """
    gr_api(endpoint, **limits)
    function: Any = list(page.fns.values())[-1]
    _, described, _ = get_function_description(endpoint)
    names = [name for name in described if name != VISITOR]
    for name, value in zip(names, function.inputs, strict=True):
        value.label = name
        value._api_info |= {"additional_description": described[name]}
        if name in examples:
            value.example_payload = partial(str, examples[name])
    function.outputs[0].label = "answer"


def _to_gradio_error(error: Exception) -> gr.Error:
    """The error for a caller. The message of an unexpected one goes to the log only."""
    if isinstance(error, GreedyscopeError):
        return gr.Error(str(error), print_exception=False)
    logging.getLogger(__name__).error("an endpoint failed", exc_info=error)
    fault = Message("memory.run") if is_out_of_memory(error) else "Something went wrong on the server. Ask again."
    return gr.Error(fault, print_exception=False)
