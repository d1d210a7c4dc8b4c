"""The sentence about the comparison of a run with `generate`. Owns its words; knows no component and no request."""

from decoding.questions.analysis import Agreement
from decoding.record.tokens import visible
from decoding.record.trace import Candidate


def agreement_sentence(found: Agreement) -> str:
    """A sentence about the result of a comparison."""
    where = f"{found.dtype}, {found.device}"
    after = f" after the last forced pick, at step {found.first}" if found.first else ""
    switched = f" Switched off on both sides: {', '.join(found.switched_off)}." if found.switched_off else ""
    if found.identical:
        return f"Identical in all {found.compared} tokens{after} ({where}).{switched}"
    ours, theirs = (f"{_named(c)}" if c else "nothing" for c in (found.ours, found.theirs))
    return (
        f"First different at step {(found.first_difference or 0) + 1}: here {ours}, in generate {theirs}; "
        f"margin {found.margin or 0:.4%} ({where}).{switched}"
    )


def _named(candidate: Candidate) -> str:
    return f"{visible(candidate.text, candidate.bytes)} (id {candidate.token_id}, {candidate.probability:.2%})"
