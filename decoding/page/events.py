"""What the page does: run, stop, fill in an example, open a recorded run, and the same run as an HTTP endpoint.

Knows the shelf and the run, not how either works. Every request carries all it needs; nothing is kept between two.
"""

import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextlib import aclosing
from functools import partial
from typing import Any

import gradio as gr
from gradio.events import api as gr_api

from decoding.errors import BusyError, GreedyscopeError
from decoding.page.choosing import offer_models
from decoding.page.health import Health
from decoding.page.layout import PROBLEMS, Widgets
from decoding.page.listening import ears
from decoding.page.questions import QUESTIONS, read_link
from decoding.run import Run, check_request
from decoding.shelf import Shelf

Update = dict[str, str]
"""The panel's new value under "panel", or sentences by place: "notice", "proof", or a problem's field."""

_BUTTONS_JS = "(running) => [!running, running].map((interactive) => ({ __type__: 'update', interactive }))"
_BUSY_JS = f"() => ({_BUTTONS_JS})(true)"
_LOST = "The connection to the server was lost. Press Run to try again."


def _ended_js(reason: str, message: str) -> str:
    """Tell the panel that no more will come, which changes nothing where the run has ended by itself."""
    detail = json.dumps({"detail": {"reason": reason, "message": message}})
    return f"""() => {{
        document.querySelector("#panel .gs").dispatchEvent(new CustomEvent("ended", {detail}));
        return ({_BUTTONS_JS})(false);
    }}"""


def connect(page: gr.Blocks, w: Widgets, shelf: Shelf, health: Health) -> None:
    """Give the widgets their events; whatever needs the model goes through `health`."""

    def heard(visitor: gr.Request) -> Callable[[], bool]:
        return ears(page, visitor.session_hash)

    async def run(prompt: Any, steps: Any, choices: Any, model: Any, visitor: gr.Request) -> AsyncIterator[Any]:
        work = partial(_run, shelf, prompt, steps, choices, model)
        async with aclosing(_attended(health, heard(visitor), lambda: _shown(work(), "prompt"))) as updates:
            async for update in updates:
                yield update

    pressed = partial(gr.on, [w.run.click, w.prompt.submit])
    started = [_start(w, pressed, run, [w.prompt, w.steps, w.choices, w.model])]
    for name, question in QUESTIONS.items():
        # Gradio hands the panel's words to a parameter of this type.
        async def ask(event: gr.EventData, visitor: gr.Request, question: Any = question) -> AsyncIterator[Any]:
            async with aclosing(
                _attended(health, heard(visitor), lambda: _shown(question(shelf, event._data), "forced"))
            ) as updates:
                async for update in updates:
                    yield update

        started.append(_start(w, getattr(w.panel, name), ask, []))
    fields = [w.prompt, w.steps, w.choices, w.model]

    def fill(event: gr.EventData) -> list[Any]:
        """The fields as the link has them; where it is broken, or of a model that is not here, they stay."""
        try:
            named = read_link(event._data)
        except GreedyscopeError:
            return [gr.skip()] * len(fields)
        return [named.prompt, named.steps, named.choices, named.model if named.model in shelf.names else gr.skip()]

    w.panel.link(fill, None, fields, show_progress="hidden", api_visibility="private", queue=False)
    w.stop.click(None, None, [w.run, w.stop], js=_ended_js("stopped", ""), cancels=started)

    for button, example in w.examples:
        values = json.dumps([example["prompt"], example["steps"], example["choices"], shelf.names[0]])
        button.click(None, None, [w.prompt, w.steps, w.choices, w.model], js=f"() => {values}")
    for button, text in w.recorded:
        button.click(None, None, [w.panel], js=f"() => {json.dumps(text)}", cancels=started)

    def loading() -> Iterator[Any]:
        """Word of the first model's loading to whoever opens the page meanwhile."""
        try:
            for word in shelf.wait(shelf.names[0]):
                yield _value({"notice": word})
            yield _value({"notice": ""})
        except GreedyscopeError as error:
            yield _value({"notice": str(error)})

    offer_models(page, w, shelf)
    page.load(loading, None, [w.panel], show_progress="hidden", api_visibility="private", concurrency_limit=None)
    gr_api(_endpoint(shelf, health, heard), api_name="greedy", concurrency_id="model", concurrency_limit=None)


def _start(w: Widgets, on: Callable[..., Any], handler: Callable[..., Any], inputs: list[Any]) -> Any:
    """Have `handler` answer a listener, the buttons locked meanwhile.

    They are turned in the browser: a second click finds them locked, and no failure leaves them so.
    """
    on(None, None, [w.run, w.stop], js=_BUSY_JS)
    started = on(
        handler,
        inputs,
        [w.panel],
        show_progress="hidden",
        api_visibility="private",
        concurrency_id="model",
        concurrency_limit=None,  # the line has the limits
    )
    started.then(None, None, [w.run, w.stop], js=_ended_js("error", _LOST))
    return started


async def _attended(
    health: Health, is_heard: Callable[[], bool], work: Callable[[], Generator[Any, None, None]]
) -> AsyncGenerator[Any, None]:
    """What `decoding.page.attend` yields, with the line's words as the panel takes them."""
    try:
        async with aclosing(health.attend(work, say=_notice, beat=gr.skip, is_heard=is_heard)) as updates:
            async for update in updates:
                yield update
    except BusyError as error:
        yield _value({"notice": str(error)})


def _notice(word: str) -> Any:
    return _value({"notice": word})


def _shown(updates: Iterator[Update], field: str) -> Generator[Any, None, None]:
    """Updates as the panel takes them, and what goes wrong as a sentence beside its field, or else beside `field`."""
    clear = dict.fromkeys(["notice", *PROBLEMS], "")
    try:
        yield _value(clear)
        yield from map(_value, updates)
        yield _value({"notice": ""})
    except GreedyscopeError as error:
        place = error.field if error.field in PROBLEMS else field
        yield _value({**clear, place: str(error)})
    except Exception:
        logging.getLogger(__name__).exception("a run failed")
        yield _value({"notice": "Something went wrong on the server. Press Run to try again."})


def _value(update: Update) -> Any:
    if "panel" in update:
        return update["panel"]
    return gr.update(words=json.dumps({f"problem-{k}" if k in PROBLEMS else k: v for k, v in update.items()}))


def _run(shelf: Shelf, prompt: Any, steps: Any, choices: Any, model: Any) -> Iterator[Update]:
    request = check_request(prompt, steps, choices)
    for word in shelf.wait(model):
        yield {"notice": word}
    yield {"notice": ""}
    text = ""
    for lines in Run(shelf.engine(model), request).lines():
        text += lines
        yield {"panel": text}


def _endpoint(
    shelf: Shelf, health: Health, heard: Callable[[gr.Request], Callable[[], bool]]
) -> Callable[..., AsyncIterator[str]]:
    async def greedy(prompt: str, steps: int, choices: int, model: str, visitor: gr.Request) -> AsyncIterator[str]:
        """Decode greedily; each value is the run so far as JSON Lines: a header, a line a step, an end."""

        def work() -> Generator[str, None, None]:
            request = check_request(prompt, steps, choices)
            written = ""
            for lines in Run(shelf.engine(model), request).lines():
                written += lines
                yield written

        text = ""  # also what is sent while the run waits in line
        try:
            async with aclosing(
                health.attend(work, say=lambda _: text, beat=lambda: text, is_heard=heard(visitor))
            ) as updates:
                async for text in updates:
                    yield text
        except GreedyscopeError as error:
            raise gr.Error(str(error), print_exception=False) from error

    return greedy
