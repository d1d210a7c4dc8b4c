"""What the page does: run, stop, fill in an example, open a recorded run.

Knows the shelf and the run, not how either works. Every request carries all it needs; nothing is kept between two.
"""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextlib import aclosing
from functools import partial
from typing import Any

import gradio as gr

from decoding.errors import BusyError, GreedyscopeError
from decoding.models.resources import OUT_OF_MEMORY, is_out_of_memory
from decoding.page.actions import LONG, QUESTIONS, awaited, growing, read_link, ready
from decoding.page.gradio_compat.liveness import connection_check, visitor_of
from decoding.page.http.metrics import Health
from decoding.page.layout import PROBLEMS, Widgets
from decoding.page.model_picker import offer_models
from decoding.run import check_request
from decoding.serving.model_registry import ModelRegistry

Update = dict[str, str]
"""The panel's new value under "panel", or sentences by place: "notice", "proof", or a problem's field; under "most" the
choices that there may be, and under "loads" whether a load is waited for.
"""

_POLL_SECONDS = 0.2
_BUTTONS_JS = "(running) => [!running, running].map((interactive) => ({ __type__: 'update', interactive }))"
_BUSY_JS = f"() => ({_BUTTONS_JS})(true)"
_FAULT = "Something went wrong on the server. Press Run to try again."
_LOST = "The connection to the server was lost. Press Run to try again."


_FIELDS = "(prompt, steps, choices, model)"
_TELL = 'document.querySelector("#panel .gs")?.dispatchEvent(new CustomEvent'
_DRAFTED_JS = f"{_FIELDS} => {{ {_TELL}('drafted', {{ detail: {{ prompt, steps, choices, model }} }})); }}"
_ASKED_JS = f"""{_FIELDS} => {{
    {_TELL}("asked", {{ detail: {{ prompt, steps, choices, model }} }}));
    return ({_BUSY_JS})();
}}"""
_FOLLOW_JS = """() => document.querySelector("#panel .gs").fieldsOfRun().map(
    (value) => (value === null ? { __type__: "update" } : value),
)"""


def _ended_js(reason: str, message: str) -> str:
    """Tell the panel that no more will come, which changes nothing where the run has ended by itself."""
    detail = json.dumps({"detail": {"reason": reason, "message": message}})
    return f"""() => {{
        document.querySelector("#panel .gs").dispatchEvent(new CustomEvent("ended", {detail}));
        return ({_BUTTONS_JS})(false);
    }}"""


def connect(page: gr.Blocks, w: Widgets, registry: ModelRegistry, health: Health) -> None:
    """Give the widgets their events; whatever needs the model goes through `health`."""

    async def run(prompt: Any, steps: Any, choices: Any, model: Any, visitor: gr.Request) -> AsyncIterator[Any]:
        work = partial(_run, registry, prompt, steps, choices, model)
        async with aclosing(_streamed(page, health, visitor, lambda: _shown(work(), "prompt"))) as updates:
            async for update in updates:
                yield update

    pressed = partial(gr.on, [w.run.click, w.prompt.submit])
    fields: list[Any] = [w.prompt, w.steps, w.choices, w.model]
    started = [_start(w, pressed, run, fields)]
    for name, question in QUESTIONS.items():
        # Gradio hands the panel's words to a parameter of this type.
        async def ask(
            event: gr.EventData, visitor: gr.Request, question: Any = question, is_long: bool = name in LONG
        ) -> AsyncIterator[Any]:
            def work() -> Generator[Any, None, None]:
                return _shown(question(registry, event._data), "forced")

            async with aclosing(_streamed(page, health, visitor, work, is_long=is_long)) as updates:
                async for update in updates:
                    yield update

        started.append(_start(w, getattr(w.panel, name), ask, []))

    def fill(event: gr.EventData) -> list[Any]:
        """The fields as the link has them; where it is broken, or of a model that is not here, they stay."""
        try:
            named = read_link(event._data)
        except GreedyscopeError:
            return [gr.skip()] * len(fields)
        return [named.prompt, named.steps, named.choices, named.model if named.model in registry.names else gr.skip()]

    w.panel.link(fill, None, fields, show_progress="hidden", api_visibility="private", queue=False)
    _tie(w, fields)
    w.stop.click(None, None, [w.run, w.stop], js=_ended_js("stopped", ""), cancels=started)

    for button, example in w.examples:
        values = json.dumps([example["prompt"], example["steps"], example["choices"], registry.names[0]])
        button.click(None, None, [w.prompt, w.steps, w.choices, w.model], js=f"() => {values}")
    for button, text in w.recorded:
        button.click(None, None, [w.panel], js=f"() => {json.dumps(text)}", cancels=started)

    async def loading() -> AsyncIterator[Any]:
        """Word of the first model's loading to whoever opens the page meanwhile. It waits in no thread."""
        first, said = registry.names[0], ""
        future = registry.request(first)
        while not future.done():
            if (message := registry.progress(first)) != said:
                yield _value({"notice": (said := message), "loads": "yes"})
            await asyncio.sleep(_POLL_SECONDS)
        try:
            yield _value(ready(future.result()))
        except GreedyscopeError as error:
            yield _value({"notice": "", "model": str(error)})  # where a run would say it too

    offer_models(page, w, registry)
    page.load(loading, None, [w.panel], show_progress="hidden", api_visibility="private", concurrency_limit=None)


def _tie(w: Widgets, fields: list[Any]) -> None:
    """Let the panel know what stands in the fields, and the fields follow the run that the panel shows: in the browser
    alone.
    """
    options: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    gr.on([field.change for field in fields], None, fields, None, js=_DRAFTED_JS, **options)
    w.panel.follow(None, None, fields, js=_FOLLOW_JS, **options)


def _start(w: Widgets, on: Callable[..., Any], handler: Callable[..., Any], inputs: list[Any]) -> Any:
    """Have `handler` answer a listener, the buttons locked meanwhile.

    They are turned in the browser: a second click finds them locked, and no failure leaves them so.
    """
    on(None, inputs or None, [w.run, w.stop], js=_ASKED_JS if inputs else _BUSY_JS)
    started = on(
        handler,
        inputs,
        [w.panel],
        show_progress="hidden",
        api_visibility="private",
        concurrency_id="model",
        concurrency_limit=None,  # the line has the limits
    )
    for ended in (started.then, started.failure):  # Gradio's "then" does not come after a fault
        ended(None, None, [w.run, w.stop], js=_ended_js("error", _LOST))
    return started


async def _streamed(
    page: gr.Blocks,
    health: Health,
    visitor: gr.Request,
    work: Callable[[], Generator[Any, None, None]],
    *,
    is_long: bool = False,
) -> AsyncGenerator[Any, None]:
    """What `decoding.serving.stream` yields, with the line's words as the panel takes them."""
    who: Any = {
        "visitor": visitor_of(visitor),
        "is_connected": connection_check(page, visitor.session_hash),
        "is_long": is_long,
    }
    try:
        async with aclosing(
            health.stream(work, notice=_notice, heartbeat=gr.skip, explains_wait=_explains_wait, **who)
        ) as updates:
            async for update in updates:
                yield update
    except BusyError as error:
        yield _value({"notice": str(error)})


def _notice(word: str) -> Any:
    return _value({"notice": word})


def _explains_wait(update: Any) -> bool:
    """Whether an update is a word of what is waited for, as a model's loading."""
    return isinstance(update, dict) and bool(json.loads(update.get("words", "{}")).get("notice"))


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
    except Exception as error:
        logging.getLogger(__name__).exception("a run failed")
        yield _value({"notice": OUT_OF_MEMORY if is_out_of_memory(error) else _FAULT})


def _value(update: Update) -> Any:
    if "panel" in update:
        return update["panel"]
    return gr.update(words=json.dumps({f"problem-{k}" if k in PROBLEMS else k: v for k, v in update.items()}))


def _run(registry: ModelRegistry, prompt: Any, steps: Any, choices: Any, model: Any) -> Iterator[Update]:
    request = check_request(prompt, steps, choices)
    engine = yield from awaited(registry, model)
    yield from growing(registry, engine, request)
