"""A run's words in one line, in which nothing of it moves a terminal's cursor or hides."""

from decoding.export.record import Record
from decoding.record.tokens import visible


def one_line(text: str) -> str:
    """A text as one line in which only its spaces are invisible."""
    return " ".join(map(visible, text.split(" ")))


def summary(run: Record) -> str:
    """One line: how many steps, why they ended, and what the text is worth."""
    ends = {
        "steps": "the step count was reached",
        "end_of_text": "the model ended the text",
        "context_full": "the context is full",
        "stopped": "stopped",
        "error": run.message,
    }
    m = run.model
    return one_line(
        f"{len(run.steps)} steps ({ends[run.stop_reason]}); log-probability {run.logprob:.4f}, "
        f"perplexity {run.perplexity:.4f}; {m.id}, {m.dtype}, {m.device}"
    )
