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

_END_STOPPED = json.dumps({"stop_reason": "stopped"})


def connect(page: gr.Blocks, w: Widgets, shelf: Shelf) -> None:
    """Give the widgets their events."""
    outputs = [w.panel, w.notice, w.run, w.stop, *w.problems.values()]

    def update(**values: Any) -> list[Any]:
        """One value an output; what is not named stays as it is."""
        names = ["panel", "notice", "run", "stop", *w.problems]
        return [values.get(name, gr.skip()) for name in names]

    def run(prompt: Any, steps: Any, choices: Any, model: Any) -> Iterator[list[Any]]:
        idle = {"run": gr.Button(interactive=True), "stop": gr.Button(interactive=False)}
        busy = {"run": gr.Button(interactive=False), "stop": gr.Button(interactive=True)}
        try:
            yield update(notice="", **busy, **dict.fromkeys(w.problems, ""))
            request = check_request(prompt, steps, choices)
            for word in shelf.wait(model):
                yield update(notice=word)
            text = ""
            for line in Run(shelf.engine(model), request).lines():
                text += line
                yield update(panel=text)
            yield update(notice="", **idle)
        except GreedyscopeError as error:
            yield update(notice="", **idle, **{error.field or "prompt": str(error)})
        except Exception:
            logging.getLogger(__name__).exception("a run failed")
            yield update(notice="Something went wrong on the server. Press Run to try again.", **idle)

    started = gr.on(
        [w.run.click, w.prompt.submit],
        run,
        [w.prompt, w.steps, w.choices, w.model],
        outputs,
        show_progress="hidden",
        api_visibility="private",
        concurrency_id="model",
    )
    w.stop.click(
        None,
        [w.panel],
        [w.panel, w.notice, w.run, w.stop],
        # The generator is closed by the cancel and says no more, so the browser writes the run's last line.
        js="(text) => [text + " + json.dumps(_END_STOPPED) + "]",
        cancels=[started],
    )
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
