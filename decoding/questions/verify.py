"""Verifies runs: whether a file is a well-formed run, and whether a model reproduces its numbers.

Owns the tolerances and the comparison. Knows no page and no terminal.
"""

from dataclasses import replace
from itertools import zip_longest
from pathlib import Path

from decoding.engines import Engine
from decoding.errors import FormatError, RequestError
from decoding.messages import Message
from decoding.record.step import NO_ID, Candidate, Step
from decoding.record.tokens import Token
from decoding.record.trace import Trace
from decoding.requests.run_request import check_request
from decoding.run import Run

TOLERANCE = 1e-4
"""Probabilities may differ by this much, because other machines sum in another order."""

LOG_SUM_TOLERANCE = 1e-2
"""Logits may differ by this much, for the same reason; they are large where probabilities are not."""

_SPARE = 8
"""This many more candidates are recomputed, because the last ones of a step may swap ranks for the same reason."""


def read_run(path: Path) -> Trace:
    """The run in a file of JSON Lines. Raises RequestError for a file that cannot be read, FormatError for one that is
    not a run.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RequestError(f"{path} cannot be read: {error.strerror or error}.") from None
    return parse_run(data)


def parse_run(data: bytes) -> Trace:
    """Parse the bytes of a file of JSON Lines. Raises FormatError if they are not a run."""
    try:
        return Trace.from_jsonl(data.decode())
    except UnicodeDecodeError as error:
        raise FormatError(Message("read.utf8", position=f"{error.start + 1:,}")) from None


def check_repeatable(trace: Trace) -> None:
    """Raises RequestError for a run that no model can repeat."""
    ids = [token.token_id for token in trace.prompt_tokens]
    ids += [c.token_id for step in trace.steps for c in step.candidates]
    if NO_ID in ids:
        raise RequestError(
            "This run was taken from a printed table, without token ids, so it cannot be computed again."
        )
    if not trace.steps:
        raise RequestError("The run has no steps, so there is nothing to compute again.")


def recompute(model: Engine, trace: Trace) -> float:
    """Decode a run again with the same forced picks. Returns the largest difference between two probabilities.

    Raises RequestError for a run that this model cannot repeat, FormatError at the first token or number that differs
    by more than the tolerance.
    """
    check_repeatable(trace)
    forced = [(step.index, step.picked.token_id) for step in trace.steps if step.chosen]
    request = check_request(trace.prompt, len(trace.steps), trace.top_k, forced, **trace.how)
    asked = trace.top_k + _SPARE
    if model.max_top_k is not None:
        asked = max(trace.top_k, min(asked, model.max_top_k))
    run = Run(model, replace(request, top_k=asked))
    same = [_is_same(model, a, b) for a, b in zip(trace.prompt_tokens, run.trace.prompt_tokens, strict=False)]
    if len(trace.prompt_tokens) != len(run.trace.prompt_tokens) or not all(same):
        raise FormatError(f"{model.info.id} reads the prompt as other tokens than the run has.")
    try:
        again = list(run)
    except RequestError as error:  # the run ended before a forced pick
        raise FormatError(f"The run comes out otherwise when it is written again. {error}") from None
    return max(_difference(model, *pair) for pair in zip_longest(trace.steps, again))


def _is_same(model: Engine, token: Token, again: Token) -> bool:
    """Whether two tokens are the same. A token's text in the file may be the one that it has alone, without its
    context, as older versions wrote it.
    """
    return token in (again, model.vocabulary.token(again.token_id))


def _difference(model: Engine, step: Step, again: Step | None) -> float:
    place = f"Step {step.index + 1}"
    if again is None:
        raise FormatError(f"{place} is not there when the run is written again: the text ends before it.")
    if not _is_same(model, step.picked.token, again.picked.token):
        raise FormatError(f"{place} picked {_describe(step.picked)}; written again it is {_describe(again.picked)}.")
    known = {candidate.token_id: candidate for candidate in again.candidates}
    pairs = [(step.picked, again.picked)]
    # Compared by rank, so that none is left out, and by token, because equally probable ones may swap ranks.
    for candidate, there in zip(step.candidates, again.candidates, strict=False):
        now = known.get(candidate.token_id)
        if now is None or not _is_same(model, candidate.token, now.token):
            raise FormatError(f"{place} has {_describe(candidate)} among its candidates; written again it has not.")
        pairs += [(candidate, there), (candidate, now)]
    for candidate, other in pairs:
        if abs(candidate.probability - other.probability) > TOLERANCE:
            measured = f"written again it is {other.probability:.4%}"
            raise FormatError(f"{place} gives {_describe(candidate)} {candidate.probability:.4%}; {measured}.")
    _check_log_sums(step, again, place)
    return max(abs(candidate.probability - other.probability) for candidate, other in pairs)


def _check_log_sums(step: Step, again: Step, place: str) -> None:
    """Raises FormatError if log-partitions differ: probabilities and log-partitions together give the logits. A run may
    have none.
    """
    known = dict(again.log_sums)
    for power, log_sum in step.log_sums:
        # A temperature that is no longer computed cannot be compared.
        now = known.get(power, log_sum)
        if abs(log_sum - now) > LOG_SUM_TOLERANCE * power:
            raise FormatError(
                f"{place} has {log_sum:.4f} as its log sum at 1/T = {power:g}; written again it is {now:.4f}."
            )


def _describe(candidate: Candidate) -> str:
    return f"{candidate.text!r} (id {candidate.token_id})"
