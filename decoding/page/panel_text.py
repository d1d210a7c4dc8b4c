"""What the panel is sent of a run's growing text.

Owns which part of it an update carries. Knows no component, and not what the lines say.

Gradio and the browser go through all of a component's value at each update, ten times over. So a long text is sent as
its newest lines, and as a whole once it has ended. The first of these lines is one that was sent before: the panel goes
on from there (`readLines` in assets/panel/core/run.js).
"""

MOST_CHARACTERS = 65_536
"""Of an update, before it begins anew with the last line that was sent: about 100 steps of 10 choices."""


class PanelText:
    """The updates of one stream, in their order."""

    def __init__(self) -> None:
        self._whole, self._start = "", 0

    def update(self, text: str) -> str:
        """The part of `text` to send; all of it where it does not go on from the one before."""
        before = self._whole
        if not text.startswith(before):
            before, self._start = "", 0
        if len(text) - self._start > MOST_CHARACTERS and before:
            self._start = before.rfind("\n", 0, -1) + 1
        self._whole = text
        return text[self._start :]

    def end(self) -> str | None:
        """The whole text once more, so that nothing is missing whatever became of the updates; None where the last
        update had all of it.
        """
        return self._whole if self._start else None
