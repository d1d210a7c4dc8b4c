"""Runs as no model wrote them, for tests of what finds that out."""

from dataclasses import replace

from decoding.record.trace import Trace


def altered(trace: Trace, step: int, rank: int) -> Trace:
    """The trace, claiming that greedy decoding picked another candidate."""
    steps = list(trace.steps)
    steps[step] = replace(steps[step], picked=steps[step].candidates[rank])
    return replace(trace, steps=tuple(steps))
