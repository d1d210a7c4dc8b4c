"""The sentence about the comparison of a run with `generate`. Owns its words; knows no component and no request."""

from decoding.messages import Message
from decoding.questions.agreement import Agreement
from decoding.record.tokens import visible
from decoding.record.trace import Candidate


def agreement_sentence(found: Agreement) -> str:
    """A sentence about the result of a comparison."""
    where = f"{found.dtype}, {found.device}"
    after = Message("proof.after", step=found.first) if found.first else ""
    switched = Message("proof.switched", settings=", ".join(found.switched_off)) if found.switched_off else ""
    if found.identical:
        return Message("proof.same", count=found.compared, after=after, where=where, switched=switched)
    ours, theirs = (_named(c) if c else Message("proof.nothing") for c in (found.ours, found.theirs))
    return Message(
        "proof.differs",
        step=(found.first_difference or 0) + 1,
        ours=ours,
        theirs=theirs,
        margin=f"{found.margin or 0:.4%}",
        where=where,
        switched=switched,
    )


def _named(candidate: Candidate) -> str:
    return f"{visible(candidate.text, candidate.bytes)} (id {candidate.token_id}, {candidate.probability:.2%})"
