"""What the page does: run, stop, fill in an example, open a recorded run, and the same run as an HTTP endpoint.

Knows the shelf and the run, not how either works. Every request carries all it needs; nothing is kept between two.
"""

import json
import logging
from collections.abc import Iterator
from typing import Any

import gradio as gr
from gradio.events import api as gr_api

from decoding.errors import GreedyscopeError
from decoding.page.layout import Widgets
from decoding.run import Run, check_request
from decoding.shelf import Shelf

_BUTTONS_JS = "(running) => [!running, running].map((interactive) => ({ __type__: 'update', interactive }))"
_BUSY_JS = f"() => ({_BUTTONS_JS})(true)"


def _ended_js(reason: str, message: str) -> str:
    """Tell the panel that no more will come, which changes nothing where the run has ended by itself."""
    detail = json.dumps({"detail": {"reason": reason, "message": message}})
    return f"""() => {{
        document.querySelector("#panel .gs").dispatchEvent(new CustomEvent("ended", {detail}));
        return ({_BUTTONS_JS})(false);
    }}"""


def connect(page: gr.Blocks, w: Widgets, shelf: Shelf) -> None:
    """Give the widgets their events."""
    names = ["panel", "notice", *w.problems]

    def update(**values: str) -> list[Any]:
        """One value an output; what is not named stays as it is."""
        return [values.get(name, gr.skip()) for name in names]

    def run(prompt: Any, steps: Any, choices: Any, model: Any) -> Iterator[list[Any]]:
        try:
            request = check_request(prompt, steps, choices)
            yield update(**dict.fromkeys(w.problems, ""))
            for word in shelf.wait(model):
                yield update(notice=word)
            text = ""
            for line in Run(shelf.engine(model), request).lines():
                text += line
                yield update(panel=text)
            yield update(notice="")
        except GreedyscopeError as error:
            yield update(**{**dict.fromkeys(w.problems, ""), error.field or "prompt": str(error)}, notice="")
        except Exception:
            logging.getLogger(__name__).exception("a run failed")
            yield update(notice="Something went wrong on the server. Press Run to try again.")

    pressed = [w.run.click, w.prompt.submit]
    # The buttons are turned in the browser: a second click finds them locked, and no failure leaves them so.
    gr.on(pressed, None, None, [w.run, w.stop], js=_BUSY_JS)
    started = gr.on(
        pressed,
        run,
        [w.prompt, w.steps, w.choices, w.model],
        [w.panel, w.notice, *w.problems.values()],
        show_progress="hidden",
        api_visibility="private",
        concurrency_id="model",
    )
    broken = "The connection to the server was lost. Press Run to try again."
    started.then(None, None, [w.run, w.stop], js=_ended_js("error", broken))
    w.stop.click(None, None, [w.run, w.stop], js=_ended_js("stopped", ""), cancels=[started])
    for button, example in w.examples:
        button.click(
            None,
            None,
            [w.prompt, w.steps, w.choices, w.model],
            js=f"() => {json.dumps([example['prompt'], example['steps'], example['choices'], shelf.names[0]])}",
        )
    for button, text in w.recorded:
        button.click(None, None, [w.panel], js=f"() => {json.dumps(text)}", cancels=[started])

    def loading() -> Iterator[Any]:
        """Word of the first model's loading to whoever opens the page meanwhile."""
        try:
            yield from shelf.wait(shelf.names[0])
            yield ""
        except GreedyscopeError as error:
            yield str(error)

    page.load(loading, None, [w.notice], show_progress="hidden", api_visibility="private", concurrency_limit=None)

    def greedy(prompt: str, steps: int, choices: int, model: str) -> Iterator[str]:
        """Decode greedily; each value is the run so far as JSON Lines: a header, a line a step, an end."""
        try:
            request = check_request(prompt, steps, choices)
            text = ""
            for line in Run(shelf.engine(model), request).lines():
                text += line
                yield text
        except GreedyscopeError as error:
            raise gr.Error(str(error), print_exception=False) from error

    gr_api(greedy, api_name="greedy", concurrency_id="model")
