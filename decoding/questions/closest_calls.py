"""Closest calls: the steps at which the second candidate was nearly picked. Knows a run alone."""

from decoding.record.trace import Trace
from decoding.requests.arguments import check_trace


def closest_calls(trace: Trace) -> list[int]:
    """The indexes of the steps that argmax decided, smallest margin first.

    >>> run = decoding.trace(model, "Transformers are the", max_new_tokens=4, top_k=2)
    >>> decoding.closest_calls(run)
    [0, 1, 2, 3]
    """
    check_trace(trace)
    return [
        step.index
        for step in sorted(trace.steps, key=lambda s: (s.margin, s.index))
        if not step.forced and step.draw is None  # argmax picked
    ]
