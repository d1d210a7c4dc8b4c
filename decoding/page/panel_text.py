"""What the panel is sent of a run's growing text.

Owns which part of it an update carries. Knows no component, and not what the lines say.

Gradio and the browser go through all of a component's value at each update, ten times over. So an update is the new
lines, and before them the last line of the update before, by which the panel sees that it goes on from there
(`readLines` in assets/panel/core/run.js).
"""


class PanelText:
    """The updates of one stream, in their order."""

    def __init__(self) -> None:
        self._sent = ""

    def update(self, text: str) -> str:
        """The part of `text` to send; all of it where it does not go on from the one before."""
        start = self._sent.rfind("\n", 0, -1) + 1 if text.startswith(self._sent) else 0
        self._sent = text
        return text[start:]
