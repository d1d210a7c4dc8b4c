"""What a run says of itself in one line."""

from decoding.export.record import Record


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
    return (
        f"{len(run.steps)} steps ({ends[run.stop_reason]}); log-probability {run.logprob:.4f}, "
        f"perplexity {run.perplexity:.4f}; {m.id}, {m.dtype}, {m.device}"
    )
