"""A Trace as files. Owns the spreadsheet's and the terminal's form of a run; knows no model and no page."""

import csv
import io

from decoding.tokens import visible
from decoding.trace import Trace

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def to_csv(trace: Trace) -> str:
    """A row per step and candidate, with a header row.

    A text that a spreadsheet would take for a formula gets an apostrophe in front, which spreadsheets do not show.
    """
    out = io.StringIO()
    rows = csv.writer(out)
    rows.writerow(["step", "rank", "token_id", "text", "bytes", "probability", "logprob", "picked", "forced"])
    for step in trace.steps:
        for c in step.candidates:
            picked = c.token_id == step.picked.token_id and c.rank == step.picked.rank
            text = "'" + c.text if c.text.lstrip(" ").startswith(_FORMULA) else c.text
            data = c.bytes.hex() if c.bytes else ""
            rows.writerow([step.index, c.rank, c.token_id, text, data, c.probability, c.logprob, picked, step.forced])
    return out.getvalue()


def to_table(trace: Trace) -> str:
    """The notebook's table as lines of text, then the run's totals."""
    import pandas as pd  # here: pandas takes 0.3 s to import, and only tables need it

    frame = trace.to_frame()
    frame["Input"] = [" ".join(map(visible, text.split(" "))) for text in frame["Input"]]
    with pd.option_context("display.unicode.east_asian_width", True, "display.max_colwidth", None):
        table = frame.to_string(index=False, justify="left")
    return f"{table}\n\n{trace.text}\n\n{summary(trace)}\n"


def summary(trace: Trace) -> str:
    """One line: how many steps, why they ended, and what the text is worth."""
    ends = {
        "steps": "the step count was reached",
        "end_of_text": "the model ended the text",
        "context_full": "the context is full",
        "stopped": "stopped",
        "error": trace.message,
    }
    m = trace.model
    return (
        f"{len(trace.steps)} steps ({ends[trace.stop_reason]}); log-probability {trace.logprob:.4f}, "
        f"perplexity {trace.perplexity:.4f}; {m.id}, {m.dtype}, {m.device}"
    )
