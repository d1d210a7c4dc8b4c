"""The page's events: run, stop, fill in an example, open a recorded run, and the panel's actions.

Owns which event calls what, and how updates become values of components. Knows the model registry and the run only by
their interfaces. Every request carries all that it needs; nothing is kept between two.
"""

import asyncio
import itertools
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextlib import aclosing
from functools import partial
from typing import Any

import gradio as gr

from decoding.errors import AddressError, BusyError, GreedyscopeError
from decoding.messages import Message, to_json
from decoding.models.resources import is_out_of_memory
from decoding.page.browser_offer import BrowserOffer
from decoding.page.gradio_compat.liveness import connection_check, listener_of
from decoding.page.http.metrics import Health
from decoding.page.layout import FIELDS, PROBLEM_FIELDS, Widgets
from decoding.page.model_picker import connect_model_picker
from decoding.page.panel_actions import ACTIONS, LONG_ACTIONS, branch, engine_limits, read_link
from decoding.page.panel_text import PanelText
from decoding.page.why_question import why
from decoding.serving.model_registry import RETRY_SECONDS, ModelRegistry

Update = dict[str, str]
"""An update: the panel's new value under "panel", or messages by place ("notice", "proof", "no-lens", or a field's
name); "why" is a line of the run, "number" its question's, "most" is the most candidates of the model, "loads" says
that a load is waited for.
"""

_POLL_SECONDS = 0.2
_CLEAR = dict.fromkeys(["notice", *PROBLEM_FIELDS], "")
_FIELDS = ", ".join(FIELDS)
_BEGUN_NUMBERS = itertools.count(1)


def connect(
    page: gr.Blocks, w: Widgets, registry: ModelRegistry, health: Health, browser: BrowserOffer | None = None
) -> None:
    """Connect the widgets to their events. Everything that needs the model goes through `health`."""

    async def run(
        prompt: Any, steps: Any, choices: Any, model: Any, past_end: Any, as_message: Any, visitor: gr.Request
    ) -> AsyncIterator[Any]:
        asked = dict(zip(FIELDS, (prompt, steps, choices, model, past_end, as_message), strict=True))
        work = partial(branch, registry, asked | {"forced": []})
        async with aclosing(_streamed(page, health, visitor, work, "prompt")) as updates:
            async for update in updates:
                yield update

    fields: list[Any] = [getattr(w, name) for name in FIELDS]
    started = [_register(w, w.run.click, run, fields)]
    # Enter presses Run, so that it does nothing where a click does nothing.
    w.prompt.submit(None, None, None, js=_in_page("press()"), show_progress="hidden", api_visibility="private")
    for name, question in (ACTIONS | {"why": why}).items():
        # Gradio passes the panel's message to a parameter of this type.
        async def ask(
            event: gr.EventData, visitor: gr.Request, question: Any = question, is_long: bool = name in LONG_ACTIONS
        ) -> AsyncIterator[Any]:
            work = partial(question, registry, event._data)
            async with aclosing(_streamed(page, health, visitor, work, "forced", is_long=is_long)) as updates:
                async for update in updates:
                    yield update

        started.append(_register(w, getattr(w.panel, name), ask, []))

    def fill(event: gr.EventData) -> list[Any]:
        """The fields of a link. They stay as they are if the link is broken; the model stays if it is not offered
        here.
        """
        try:
            named = read_link(event._data)
        except GreedyscopeError:
            return [gr.skip()] * len(fields)
        model = named.model if named.model in registry.names else gr.skip()
        switches = (named.how.get(name, False) for name in ("past_end", "as_message"))
        return [named.prompt, named.steps, named.choices, model, *switches]

    w.panel.link(fill, None, fields, show_progress="hidden", api_visibility="private", queue=False)
    _sync_fields(w, fields)
    w.stop.click(None, None, [w.run, w.stop], js=_in_page("stopped()"), cancels=started)

    for button, example in w.examples:
        # An example is a text to go on from, which no message is; whether it goes on past its end is the reader's.
        values = json.dumps([example["prompt"], example["steps"], example["choices"], registry.names[0], False])
        button.click(None, None, [w.prompt, w.steps, w.choices, w.model, w.as_message], js=f"() => {values}")
    for button, text in w.recorded:
        button.click(None, None, [w.panel], js=f"() => {json.dumps(text)}", cancels=started)

    async def loading(visitor: gr.Request) -> AsyncIterator[Any]:
        async with aclosing(_first_models_load(page, visitor, registry)) as updates:
            async for update in updates:
                yield update

    connect_model_picker(page, w, registry, browser)
    # The panel says when the server begins to answer, and when its own browser computes, of which Gradio does not hear.
    for event, call in ((w.panel.begun, "begun()"), (w.panel.computing, "buttons()")):
        event(None, None, [w.run, w.stop], js=_in_page(call), show_progress="hidden", api_visibility="private")
    page.load(loading, None, [w.panel], show_progress="hidden", api_visibility="private", concurrency_limit=None)


async def _first_models_load(
    page: gr.Blocks, visitor: gr.Request, registry: ModelRegistry
) -> AsyncGenerator[Any, None]:
    """Progress messages of the first model's load for a visitor who opens the page meanwhile. While the operator's
    server cannot be reached, it is asked again until it answers or the visitor leaves. Waits in no thread.
    """
    first, shown, is_away = registry.names[0], "", False
    is_connected = connection_check(page, visitor.session_hash)
    while is_connected():
        future = registry.request(first)
        while not future.done():
            if not is_away and (message := registry.progress(first)) != shown:
                yield _panel_value({"notice": (shown := message), "loads": "yes"})
            await asyncio.sleep(_POLL_SECONDS)
        try:
            limits = engine_limits(future.result())
        except GreedyscopeError as error:
            if not is_away or not isinstance(error, AddressError):
                yield _panel_value({"notice": "", "model": error.message})  # where a run would show it too
            if not isinstance(error, AddressError):
                return
            is_away = True
            await asyncio.sleep(RETRY_SECONDS)
        else:
            if is_away:  # a run may have told the panel meanwhile that no load is waited for
                yield _panel_value({"loads": "yes"})
                await asyncio.sleep(_POLL_SECONDS)
            yield _panel_value(limits | ({"model": ""} if is_away else {}))
            return


def _in_page(call: str) -> str:
    """JavaScript that calls a function of assets/panel/app/gradio_events.js, with the event's fields by their names.
    There may be no panel yet.
    """
    return f"({_FIELDS}) => document.querySelector('#panel .gs')?.gradio.{call}"


def _sync_fields(w: Widgets, fields: list[Any]) -> None:
    """Keep the panel and the fields in sync, in the browser alone: the panel knows the fields, and they follow the
    shown run.
    """
    options: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    gr.on([field.change for field in fields], None, fields, None, js=_in_page(f"drafted({{ {_FIELDS} }})"), **options)
    w.panel.follow(None, None, fields, js=_in_page("follow()"), **options)


def _register(w: Widgets, on: Callable[..., Any], handler: Callable[..., Any], inputs: list[Any]) -> Any:
    """Register a handler for a listener, with Run locked while it runs.

    It is locked in the browser, so a second click finds it locked, and no failure leaves it so.
    """
    asked = f"asked({{ {_FIELDS} }})" if inputs else "asked()"
    on(None, inputs or None, [w.run, w.stop], js=_in_page(asked))
    started = on(
        handler,
        inputs,
        [w.panel],
        show_progress="hidden",
        api_visibility="private",
        concurrency_id="model",
        concurrency_limit=None,  # limited by the admission queue
    )
    for ended in (started.then, started.failure):  # Gradio's "then" is not called after a failure
        ended(None, None, [w.run, w.stop], js=_in_page("ended()"))
    return started


async def _streamed(
    page: gr.Blocks,
    health: Health,
    visitor: gr.Request,
    work: Callable[[], Iterator[Update]],
    field: str,
    *,
    is_long: bool = False,
) -> AsyncGenerator[Any, None]:
    """The updates of `decoding.serving.stream`, as values of the panel. An error becomes a sentence beside its field,
    or beside `field` if it has none.
    """
    who: Any = listener_of(page, visitor) | {"is_long": is_long}
    yield _panel_value(_CLEAR) | {"begun_number": str(next(_BEGUN_NUMBERS))}
    try:
        async with aclosing(
            health.stream(
                lambda: _panel_values(work()), notice=_notice, heartbeat=gr.skip, explains_wait=_explains_wait, **who
            )
        ) as updates:
            text = PanelText()
            async for update in updates:
                yield text.update(update) if isinstance(update, str) else update
    except BusyError as error:
        yield _panel_value({"notice": error.message})
    except GreedyscopeError as error:
        place = error.field if error.field in PROBLEM_FIELDS else field
        yield _panel_value({**_CLEAR, place: error.message})
    except Exception as error:
        logging.getLogger(__name__).exception("a run failed")
        yield _panel_value({"notice": Message("memory.run") if is_out_of_memory(error) else Message("run.failed")})


def _notice(word: str) -> Any:
    return _panel_value({"notice": word})


def _explains_wait(update: Any) -> bool:
    """Whether an update explains by itself what is waited for, such as a model's load."""
    return isinstance(update, dict) and bool(json.loads(update.get("words", "{}")).get("notice"))


def _panel_values(updates: Iterator[Update]) -> Generator[Any, None, None]:
    """Updates as values of the panel; a notice goes with them."""
    yield from map(_panel_value, updates)
    yield _panel_value({"notice": ""})


def _panel_value(update: Update) -> Any:
    if "panel" in update:
        return update["panel"]
    return gr.update(
        words=json.dumps({f"problem-{k}" if k in PROBLEM_FIELDS else k: to_json(v) for k, v in update.items()})
    )
